import { randomBytes } from 'node:crypto';
import type { RedisConfig } from '../config/redis.ts';
import { makeCredentialHash, type CredentialHash } from '../gateway/identify/credentials.ts';
import { FailoverLedger } from '../ledger/failover-ledger.ts';
import type { SocketPermits } from '../ledger/ledger.ts';
import { SharedLessons } from '../ledger/shared/lessons.ts';
import { ReplicaPresence } from '../ledger/shared/presence.ts';
import { openRedisStore } from '../ledger/shared/redis/store.ts';
import { SharedLedger } from '../ledger/shared/shared-ledger.ts';
import {
  bucketNameKey,
  bucketOptions,
  newLocalLedger,
  type BuiltLedger,
  type LedgerParts,
} from './ledger.ts';
import { RedisTrouble } from './redis-trouble.ts';

/**
 * Constructs the ledger that all replicas share, with a local ledger as its failover. It starts
 * without Redis too, and uses Redis from the first successful probe on.
 */
export async function makeSharedLedger(
  parts: LedgerParts,
  redis: RedisConfig,
): Promise<BuiltLedger> {
  const { secret, clock, random, socketPermits, log, observer, atEndOfTurn, learned } = parts;
  const key = bucketNameKey(secret);
  let hash = makeCredentialHash(key);
  const credentialHash: CredentialHash = (credential) => hash(credential);
  const [sharedPermits, localPermits] = splitSocketPermits(socketPermits);
  const replica = randomBytes(6).toString('base64url');
  const store = openRedisStore({
    ...redis,
    replica,
    log,
    onMessage: (text) => shared.receive(text),
  });
  let startError: unknown;
  const trouble = new RedisTrouble(redis, log);
  const lessons = new SharedLessons({ store, learned, clock, timeoutMs: redis.timeoutMs });
  const presence = new ReplicaPresence({
    store,
    clock,
    timeoutMs: redis.timeoutMs,
    proposedKey: secret === undefined ? key : undefined,
    onKeyAgreed: (agreed) => (hash = makeCredentialHash(agreed)),
    isSharedInUse: () => failover.mode === 'redis',
    onAnnounced() {
      lessons.exchange().catch((err: unknown) => log.debug({ err }, 'lessons of buckets'));
    },
    onTrouble(error) {
      startError = error;
      failover.trouble(error);
    },
  });
  const shared: SharedLedger = new SharedLedger(
    Object.assign(bucketOptions(parts, sharedPermits), {
      replica,
      timeoutMs: redis.timeoutMs,
      atEndOfTurn,
      step: (bucketId: string, batch: string) => store.step(bucketId, batch),
      observer,
      onTrouble: (error: Error, bucketId: string) => failover.trouble(error, bucketId),
    }),
  );
  const failover: FailoverLedger = new FailoverLedger({
    shared,
    local: newLocalLedger(parts, localPermits, { replicas: () => presence.replicas }),
    replicas: () => presence.replicas,
    async probe(bucketId) {
      try {
        await presence.announce();
      } catch (error) {
        void trouble.failed(error);
        throw error;
      }
      trouble.reached();
      if (bucketId !== undefined) await shared.probe(bucketId);
    },
    renew: () => store.renew(),
    clock,
    random,
    log,
    observer,
  });
  await presence.start();
  // Before it listens, so that a replica with wrong settings is never ready.
  if (failover.mode === 'local') await trouble.failed(startError);
  else trouble.reached();
  return {
    ledger: failover,
    credentialHash,
    isMisconfigured: () => trouble.isMisconfigured,
    async close() {
      presence.close();
      await failover.close();
      store.close();
    },
  };
}

/** Gives the same sockets to two users. Both are notified when a socket is free again. */
function splitSocketPermits(permits: SocketPermits): [SocketPermits, SocketPermits] {
  const listeners: (() => void)[] = [];
  permits.onFree(() => {
    for (const listener of listeners) listener();
  });
  const share = (): SocketPermits => ({
    get free() {
      return permits.free;
    },
    take: () => permits.take(),
    onFree: (run) => void listeners.push(run),
  });
  return [share(), share()];
}
