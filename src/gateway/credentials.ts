import { createHmac, timingSafeEqual } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { GatewayError } from './problem.ts';

/** Credentials whose hash is remembered; a miss costs a few microseconds. */
const MAX_CACHED = 10_000;
/** Longer ones are hashed anew each time: they may have 64 KiB, and so many of them half a gigabyte. */
const MAX_CACHED_LENGTH = 4096;

/** Turns an Authorization header into a name that tells nothing to who does not hold the key. */
export type CredentialHash = (authorization: string) => string;

/**
 * Hashes credentials with a key, so that a password cannot be guessed from a log. The scheme is
 * case-insensitive (RFC 9110 §11.1): `Token x` and `token x` are one credential and one bucket.
 */
export function makeCredentialHash(key: Buffer): CredentialHash {
  const remembered = new LRUCache<string, string>({ max: MAX_CACHED });
  return (authorization) => {
    const known = remembered.get(authorization);
    if (known !== undefined) return known;
    const [, scheme = '', rest = ''] = /^(\S+)\s*(.*)$/s.exec(authorization.trim()) ?? [];
    const hash = createHmac('sha256', key)
      .update(`${scheme.toLowerCase()} ${rest}`)
      .digest('hex')
      .slice(0, 16);
    if (authorization.length <= MAX_CACHED_LENGTH) remembered.set(authorization, hash);
    return hash;
  };
}

/**
 * The name that a `Headgate-Key` field proves. Throws a {@link GatewayError} `unknown-caller` when
 * there is none, or when nobody has that key.
 */
export type CallerOfKey = (key: string | undefined) => string;

/**
 * Finds callers by their keys in the same time however many there are. What is looked up and
 * compared are keyed digests, whose bytes nobody outside can choose, so that the time that it takes
 * tells nothing of any key. `hashKey` is random and of this process.
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
    if (found !== undefined && timingSafeEqual(found.digest, digest)) return found.caller;
    throw new GatewayError('unknown-caller', 'the Headgate-Key is not that of a known caller');
  };
}
