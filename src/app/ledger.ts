import { createHash, randomBytes } from 'node:crypto';
import type { BuiltLedger, LedgerParts } from './ledger-parts.ts';
import { makeCredentialHash } from '../gateway/credentials.ts';
import { LocalLedger } from '../ledger/local/local-ledger.ts';

/** Constructs the ledger that the settings ask for: this process's own, or the shared one. */
export async function makeLedger(parts: LedgerParts): Promise<BuiltLedger> {
  const { redis, secret, clock, random, apiClock, places, live } = parts;
  if (redis !== undefined) {
    // Read only where it is wanted: the client of Redis is a tenth of what a start takes.
    const { makeSharedLedger } = await import('./shared-ledger.ts');
    return makeSharedLedger(parts, redis);
  }
  const key = secret === undefined ? randomBytes(32) : createHash('sha256').update(secret).digest();
  const ledger = new LocalLedger({
    clock,
    random,
    apiClock,
    places,
    get maxQueue() {
      return live().maxQueue;
    },
    get belief() {
      return live().limit;
    },
  });
  return { ledger, credentialHash: makeCredentialHash(key), close: () => ledger.close() };
}
