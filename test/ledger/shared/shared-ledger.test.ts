// @module-tag needs-redis-server
import { afterAll, beforeAll } from 'vitest';
import { ApiClock } from '../../../src/rate-headers/api-clock.ts';
import { SharedLedger } from '../../../src/ledger/shared/shared-ledger.ts';
import { quietRedis } from '../../support/redis-replicas.ts';
import { startRedis, type RedisServer } from '../../support/redis-server.ts';
import { CHANNEL, makeTimedStep } from '../../support/redis-step.ts';
import { seededRandom } from '../../support/seeded-random.ts';
import { drawsLedgerTests } from '../draws-ledger-tests.ts';
import { ledgerTests, type LedgerParts, type LedgerUnderTest } from '../ledger-tests.ts';

let redis: RedisServer;
let subscriber: RedisServer['client'];
let listener: ((text: string) => void) | undefined;

beforeAll(async () => {
  redis = await startRedis();
  subscriber = redis.client.duplicate();
  await subscriber.psubscribe(`${CHANNEL}*`);
  subscriber.on('pmessage', (_pattern: string, _channel: string, text: string) => listener?.(text));
});

afterAll(async () => {
  subscriber.disconnect();
  await redis.stop();
});

async function make(parts: LedgerParts): Promise<LedgerUnderTest> {
  await redis.client.flushall();
  const timedStep = makeTimedStep(redis.client);
  const underWay = new Set<symbol>();
  const ledger = new SharedLedger({
    ...parts,
    random: seededRandom(1),
    apiClock: new ApiClock(),
    replica: 'r1',
    atEndOfTurn: (run) => run(),
    timeoutMs: 100,
    async step(bucketId, batch) {
      const step = Symbol(bucketId);
      underWay.add(step);
      try {
        return await timedStep(bucketId, batch, parts.clock.now());
      } finally {
        underWay.delete(step);
      }
    },
  });
  listener = (text) => ledger.receive(text);
  return {
    ledger,
    quiet: () => quietRedis(subscriber, () => underWay.size > 0),
  };
}

ledgerTests('Redis', make);
drawsLedgerTests('Redis', make);
