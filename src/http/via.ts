/** What becomes of a request's Via field. */
export type Via =
  | { readonly kind: 'onward'; readonly value: string }
  /** It went through the gateway of this id before. */
  | { readonly kind: 'loop' };

/** Protocol, an optional name before it, and who received it (RFC 9110 §7.6.3). */
const MEMBER = /(?:^|,)[ \t]*((?:[^\s,/()]+\/)?[^\s,/()]+[ \t]+([^\s,()]+))/g;
const OF_OUR_KIND = /^headgate-[0-9a-f]{8}$/;

/**
 * The Via value that goes to the API: `received`, the caller's HTTP version, and our id.
 *
 * Of the hops that lie before us only other Headgates are named on: their ids say nothing but
 * that, and without them two that send to each other would never notice. Every other hop is the
 * caller's own business, which we do not tell (RFC 9110 §7.6.3 allows to leave hosts out).
 */
export function viaOnward(received: string | undefined, httpVersion: string, id: string): Via {
  const own = `${httpVersion} ${id}`;
  if (received === undefined) return { kind: 'onward', value: own };
  const members: string[] = [];
  for (const [, member = '', by = ''] of received.matchAll(MEMBER)) {
    if (by === id) return { kind: 'loop' };
    if (OF_OUR_KIND.test(by)) members.push(member);
  }
  return { kind: 'onward', value: [...members, own].join(', ') };
}
