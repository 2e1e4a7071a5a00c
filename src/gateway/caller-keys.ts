import { createHmac, timingSafeEqual } from 'node:crypto';
import { GatewayError } from './problem.ts';

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
