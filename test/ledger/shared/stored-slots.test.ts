// @module-tag needs-redis-server
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LocalBudget, type LocalLease } from '../../../src/ledger/local/local-budget.ts';
import { bucketKeys } from '../../../src/ledger/shared/script/step-script.ts';
import { readReply, type StepBatch, type StepSettled } from '../../../src/ledger/shared/wire.ts';
import { makeLimiter, type Semantics } from '../../support/limiter.ts';
import { startRedis, type RedisServer } from '../../support/redis-server.ts';
import { makeTimedStep, PREFIX } from '../../support/redis-step.ts';
import { seededRandom } from '../../support/seeded-random.ts';

const START_MS = 1_790_000_000_000;
const PERIOD_MS = 60_000;
const LIMIT = 700;
const NO_OFFSET = { low: 0, high: 0 };

interface Sent {
  readonly lease: LocalLease;
  readonly entry: readonly [
    id: string,
    kind: LocalLease['kind'],
    n: number,
    trusted: boolean,
    cost: number,
  ];
  readonly observed: { status: number; limit: number; remaining: number; resetAt: number };
}

describe('slots in Redis', () => {
  let redis: RedisServer;
  let timedStep: ReturnType<typeof makeTimedStep>;

  beforeAll(async () => {
    redis = await startRedis();
    timedStep = makeTimedStep(redis.client);
  });
  afterAll(() => redis.stop());

  test.each<[string, Semantics, number]>([
    ['return one by one', 'sliding', 0],
    ['return one by one, with answers in another order', 'sliding', 3000],
    ['return together', 'fixed', 0],
  ])('that %s are those of the ledger in this process', async (which, semantics, jitterMs) => {
    const random = seededRandom(5);
    const limiter = makeLimiter(semantics, { limit: LIMIT, periodMs: PERIOD_MS });
    const local = new LocalBudget(START_MS);
    let now = START_MS;
    let sent: Sent[] = [];
    let state = { lineage: '', revision: 0 };
    let [ids, sequence, most] = [0, 0, 0];
    for (let round = 0; round < 500; round++) {
      now += Math.floor(random() * 600);
      local.advance(now, NO_OFFSET);
      // Some answers arrive with this step, the others with a later one.
      const arrived = sent.filter(() => random() < 0.7);
      sent = sent.filter((each) => !arrived.includes(each));
      const settled = arrived.map(({ lease, entry, observed }): StepSettled => {
        const { resetAt, ...report } = observed;
        const rest = { sameWithin: 0, uncertainty: 0, random: 0.5 };
        local.answered(
          lease,
          {
            ...report,
            resetAt,
            basis: 'delay',
            sameWithinMs: 0,
            uncertaintyMs: 0,
            receivedAt: now,
          },
          now,
          () => 0.5,
        );
        const [id, kind, observation, trusted] = entry;
        const reported = { ...report, resetIn: resetAt - now, ...rest };
        return [id, kind, observation, trusted, 1, 'answered', reported];
      });
      const batch: StepBatch = {
        bucket: which,
        replica: 'r1',
        epoch: 1,
        sequence: ++sequence,
        ...state,
        declares: sequence === 1,
        free: 1000,
        maxQueue: 20,
        sheds: 0,
        held: [],
        settled,
        stock: 0,
        wants: 0,
        gone: [],
        tickets: Array.from({ length: 10 }, () => {
          return [`t${++ids}`, 'o', 'c', 'normal', 1, 0, 1e9, 'new'] as const;
        }),
      };
      const reply = readReply(await timedStep(which, JSON.stringify(batch), now));
      if (reply.status !== 'ok') throw new Error(`the step returned ${reply.status}`);
      state = { lineage: reply.lineage, revision: reply.revision };
      for (const [i, entry] of reply.granted.entries()) {
        const lease = local.grant(now);
        expect(lease.kind).toBe(entry[1]);
        const { allowed, limit, remaining, resetAtMs } = limiter.take(now + i / 10);
        const resetAt = resetAtMs + Math.floor(random() * jitterMs);
        const observed = { status: allowed ? 200 : 429, limit, remaining, resetAt };
        const [id, kind, observation, trusted, cost] = entry;
        sent.push({ lease, entry: [id, kind, observation, trusted, cost], observed });
      }
      const fields = await redis.client.hkeys(bucketKeys(PREFIX, which)[0] ?? '');
      most = Math.max(most, fields.filter((field) => field.startsWith('slots')).length);
      const { remaining, leases, waiting, etaIn } = reply.numbers;
      const view = local.view(now);
      const isWaiting = waiting > 0;
      const eta = isWaiting ? local.eta(waiting, now) : undefined;
      expect(rounded({ remaining, leases, etaIn, wakeIn: reply.wakeIn })).toEqual(
        rounded({
          remaining: view.remaining,
          leases: view.leases,
          etaIn: eta === undefined ? undefined : eta - now,
          wakeIn: isWaiting ? local.nextWakeAt(now) - now : undefined,
        }),
      );
      expect(isWaiting && local.offer(now) !== undefined).toBe(false);
    }
    // The list of the chunks with the last one, and the others.
    expect(most).toBeGreaterThanOrEqual(semantics === 'fixed' ? 1 : 1 + 9);
    expect(most).toBeLessThanOrEqual(semantics === 'fixed' ? 1 : 1 + 20);
  });
});

/** To a thousandth, since Lua writes numbers with fourteen digits. */
function rounded(numbers: Record<string, number | undefined>): Record<string, number | undefined> {
  const entries = Object.entries(numbers).map(([name, value]) => [
    name,
    value === undefined ? undefined : Math.round(value * 1000) / 1000,
  ]);
  return Object.fromEntries(entries);
}
