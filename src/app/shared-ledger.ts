import { createHash, randomBytes } from 'node:crypto';
import type { BuiltLedger, LedgerParts } from './ledger-parts.ts';
import type { RedisConfig } from '../config/redis.ts';
import type { Timer } from '../util/clock.ts';
import { makeCredentialHash, type CredentialHash } from '../gateway/credentials.ts';
import { inTime } from '../ledger/shared/in-time.ts';
import { FailoverLedger } from '../ledger/failover-ledger.ts';
import { LocalLedger } from '../ledger/local/local-ledger.ts';
import { SharedLedger } from '../ledger/shared/shared-ledger.ts';
import { openRedisStore } from '../ledger/shared/redis/store.ts';
import { splitSocketPermits } from '../ledger/split-places.ts';

const PRESENCE_EVERY_MS = 2000;
/** How long the start may wait for Redis; without it we start all the same, locally. */
const START_MS = 2000;
const START_EVERY_MS = 20;

/**
 * Constructs the ledger that all replicas share, failover by one of this process's own. It starts
 * without Redis too, and finds it later.
 */
export async function makeSharedLedger(
  parts: LedgerParts,
  redis: RedisConfig,
): Promise<BuiltLedger> {
  const { secret, clock, random, apiClock, places, live, log, observer, atEndOfTurn } = parts;
  const key = secret === undefined ? randomBytes(32) : createHash('sha256').update(secret).digest();
  let hash = makeCredentialHash(key);
  const credentialHash: CredentialHash = (authorization) => hash(authorization);
  const [sharedPlaces, localPlaces] = splitSocketPermits(places);
  const replica = randomBytes(6).toString('base64url');
  let replicas = 1;
  const store = openRedisStore({ ...redis, replica, log, onMessage: (text) => shared.hear(text) });
  const shared: SharedLedger = new SharedLedger({
    clock,
    random,
    apiClock,
    places: sharedPlaces,
    get maxQueue() {
      return live().maxQueue;
    },
    get belief() {
      return live().limit;
    },
    replica,
    timeoutMs: redis.timeoutMs,
    atEndOfTurn,
    step: (bucketId, batch) => store.step(bucketId, batch),
    observer,
    onTrouble: (error, bucketId) => failover.trouble(error, bucketId),
  });
  const local = new LocalLedger({
    clock,
    random,
    apiClock,
    places: localPlaces,
    get maxQueue() {
      return live().maxQueue;
    },
    get belief() {
      return live().limit;
    },
    standIn: { replicas: () => replicas },
  });
  const failover: FailoverLedger = new FailoverLedger({
    shared,
    local,
    replicas: () => replicas,
    async probe(bucketId) {
      await present();
      if (bucketId !== undefined) await shared.probe(bucketId);
    },
    clock,
    random,
    log,
    observer,
  });

  /** Who holds the same key names the same buckets; a key that others agreed on wins. */
  let agreed = key.toString('base64url');
  async function present(): Promise<void> {
    const proposal = secret === undefined ? agreed : '';
    const presence = await inTime(store.presence(proposal), redis.timeoutMs, clock);
    replicas = Math.max(1, presence.replicas);
    if (presence.agreedKey === undefined || presence.agreedKey === agreed) return;
    agreed = presence.agreedKey;
    hash = makeCredentialHash(Buffer.from(agreed, 'base64url'));
  }

  let timer: Timer | undefined;
  let closed = false;
  function presentAgain(): void {
    // An answer that was still owed when we closed must not begin it all anew.
    if (closed) return;
    timer = clock.after(PRESENCE_EVERY_MS, () => {
      const due = failover.mode === 'redis' ? present() : Promise.resolve();
      void due.catch((error: Error) => failover.trouble(error)).finally(presentAgain);
    });
  }

  const giveUpAt = clock.now() + START_MS;
  for (;;) {
    try {
      await present();
      break;
    } catch (error) {
      if (clock.now() >= giveUpAt) {
        failover.trouble(error instanceof Error ? error : new Error(String(error)));
        break;
      }
      await new Promise<void>((resolve) => {
        clock.after(START_EVERY_MS, resolve);
      });
    }
  }
  presentAgain();
  return {
    ledger: failover,
    credentialHash,
    async close() {
      closed = true;
      timer?.cancel();
      await failover.close();
      store.close();
    },
  };
}
