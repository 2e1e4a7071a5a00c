import { createHmac } from 'node:crypto';
import { LRUCache } from 'lru-cache';

/** Credentials whose hash is remembered; a miss costs a few microseconds. */
const REMEMBERED = 10_000;
/** Longer ones are hashed anew each time: they may have 64 KiB, and so many of them half a gigabyte. */
const MOST_REMEMBERED_LENGTH = 4096;

/** Turns an Authorization header into a name that tells nothing to who does not hold the key. */
export type CredentialHash = (authorization: string) => string;

/**
 * Hashes credentials with a key, so that a password cannot be guessed from a log. The scheme is
 * case-insensitive (RFC 9110 §11.1): `Token x` and `token x` are one credential and one bucket.
 */
export function makeCredentialHash(key: Buffer): CredentialHash {
  const remembered = new LRUCache<string, string>({ max: REMEMBERED });
  return (authorization) => {
    const known = remembered.get(authorization);
    if (known !== undefined) return known;
    const [, scheme = '', rest = ''] = /^(\S+)\s*(.*)$/s.exec(authorization.trim()) ?? [];
    const hash = createHmac('sha256', key)
      .update(`${scheme.toLowerCase()} ${rest}`)
      .digest('hex')
      .slice(0, 16);
    if (authorization.length <= MOST_REMEMBERED_LENGTH) remembered.set(authorization, hash);
    return hash;
  };
}
