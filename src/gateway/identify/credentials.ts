import { createHmac, timingSafeEqual } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { AuthThrottle } from '../../http/auth-throttle.ts';
import type { Call } from '../call.ts';
import { GatewayError } from '../problem.ts';

/** How many credentials have a cached hash; a miss costs a few microseconds. */
const MAX_CACHED = 10_000;
/** Longer credentials are not cached: with 64 KiB each, the cache could take half a gigabyte. */
const MAX_CACHED_LENGTH = 4096;

/** Returns a name for a credential, such as an Authorization value, that reveals nothing without the key. */
export type CredentialHash = (credential: string) => string;

/**
 * Makes a keyed hash of credentials, so that a password cannot be guessed from a log. The scheme is
 * case-insensitive (RFC 9110 §11.1): `Token x` and `token x` are one credential and one bucket.
 */
export function makeCredentialHash(key: Buffer): CredentialHash {
  const cache = new LRUCache<string, string>({ max: MAX_CACHED });
  return (credential) => {
    const known = cache.get(credential);
    if (known !== undefined) return known;
    const [, scheme = '', rest = ''] = /^(\S+)\s*(.*)$/s.exec(credential.trim()) ?? [];
    const hash = createHmac('sha256', key)
      .update(`${scheme.toLowerCase()} ${rest}`)
      .digest('hex')
      .slice(0, 16);
    if (credential.length <= MAX_CACHED_LENGTH) cache.set(credential, hash);
    return hash;
  };
}

/**
 * Returns the name of the caller with this `Headgate-Key`; `undefined` when the key is unknown.
 * Throws a {@link GatewayError} `unknown-caller` when it is missing.
 */
export type CallerOfKey = (key: string | undefined) => string | undefined;

/**
 * Finds callers by their keys, in a time that does not depend on their number. It looks up and
 * compares keyed digests. An attacker cannot choose their bytes, so the time reveals nothing about
 * any key. `hashKey` is random for each process.
 */
export function makeCallerOfKey(
  keys: readonly { readonly caller: string; readonly key: string }[],
  hashKey: Buffer,
): CallerOfKey {
  const digestOf = (key: string): Buffer => createHmac('sha256', hashKey).update(key).digest();
  const known = new Map<string, { readonly digest: Buffer; readonly caller: string }>();
  for (const { caller, key } of keys) {
    const digest = digestOf(key);
    known.set(digest.toString('latin1'), { digest, caller });
  }
  return (key) => {
    if (key === undefined) {
      throw new GatewayError('unknown-caller', 'expected a Headgate-Key header, got none');
    }
    const digest = digestOf(key);
    const found = known.get(digest.toString('latin1'));
    return found !== undefined && timingSafeEqual(found.digest, digest) ? found.caller : undefined;
  };
}

/**
 * Refuses a call with an unknown key: throws a {@link GatewayError}, at once or after a delay.
 * Resolves to `cancelled` if the call is gone by then.
 */
export async function refuseUnknownKey(
  call: Call,
  address: string,
  throttle: AuthThrottle,
): Promise<'cancelled'> {
  const failure = throttle.fail(address, (listener) => call.onGone(listener));
  if (failure.kind === 'too-many') {
    const { retryAfterMs } = failure;
    const why = 'the Headgate-Key is unknown, as were many others from this address';
    throw new GatewayError('too-many-unknown-keys', why, { retryAfterMs });
  }
  if (failure.kind === 'delayed') await failure.over;
  if (call.gone) return 'cancelled';
  throw new GatewayError('unknown-caller', 'the Headgate-Key is not that of a known caller');
}
