/** The Via field to send to the API, or that the request is in a loop. */
export type Via =
  | { readonly kind: 'onward'; readonly value: string }
  /** The request already passed the gateway with this id. */
  | { readonly kind: 'loop' };

/**
 * A member: the protocol, perhaps with its name before it, and who received it (RFC 9110 §7.6.3).
 */
const MEMBER = /(?:^|,)[ \t]*((?:[^\s,/()]+\/)?[^\s,/()]+[ \t]+([^\s,()]+))/g;
const HEADGATE_ID = /^headgate-[0-9a-f]{8}$/;

/**
 * The Via value to send to the API: the other Headgates in `received`, then the caller's HTTP
 * version with our id.
 *
 * Other Headgates are kept because two gateways that forward to each other could not detect the
 * loop without them, and their ids reveal nothing else. All other hops are left out, since they
 * would reveal the caller's network; RFC 9110 §7.6.3 permits concealing hosts.
 */
export function viaOnward(received: string | undefined, httpVersion: string, id: string): Via {
  const own = `${httpVersion} ${id}`;
  if (received === undefined) return { kind: 'onward', value: own };
  const members: string[] = [];
  for (const [, member = '', by = ''] of received.matchAll(MEMBER)) {
    if (by === id) return { kind: 'loop' };
    if (HEADGATE_ID.test(by)) members.push(member);
  }
  return { kind: 'onward', value: [...members, own].join(', ') };
}
