// @module-tag needs-redis-server
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Asked } from '../../support/ledger-driver.ts';
import { ApiClock } from '../../../src/rate-headers/api-clock.ts';
import { makeLimiter, type LimiterOptions, type Semantics } from '../../support/limiter.ts';
import { Replicas, type Replica } from '../../support/redis-replicas.ts';
import { seededRandom } from '../../support/seeded-random.ts';
import { utilisationOf } from '../../support/utilisation.ts';

let fleet: Replicas;

beforeAll(async () => {
  fleet = await Replicas.start();
});
afterAll(() => fleet.stop());
afterEach(() => fleet.clear());

interface Saturation extends LimiterOptions {
  readonly semantics: Semantics;
  /** Callers at each replica. Each requests the next grant as soon as it has an answer. */
  readonly callers: number;
  readonly calls: number;
}

interface Result {
  /** The number of requests that the API's limiter refused. */
  readonly refused: number;
  /** The times at which the limiter accepted a request. */
  readonly accepted: readonly number[];
  /** The number of requests that a prefetched lease granted at once. */
  readonly atOnce: number;
}

interface Waiting {
  readonly replica: Replica;
  readonly apiClock: ApiClock;
  readonly caller: string;
  readonly asked: Asked;
}

/** Milliseconds that the API's clock, which is the test's, may be off as replicas know it. */
const KNOWN_WITHIN_MS = 5;

function makeApiClock(): ApiClock {
  const apiClock = new ApiClock();
  const dateMs = Math.floor(fleet.clock.now() / 1000) * 1000;
  apiClock.observe({
    dateMs,
    sentAt: dateMs - KNOWN_WITHIN_MS,
    receivedAt: dateMs + KNOWN_WITHIN_MS,
  });
  apiClock.observe({
    dateMs: dateMs - 1000,
    sentAt: dateMs - KNOWN_WITHIN_MS,
    receivedAt: dateMs + KNOWN_WITHIN_MS,
  });
  return apiClock;
}

/**
 * Three replicas in front of one limiter, until it has answered `calls` requests. Each takes from 1
 * to 4 ms to the API and as long back, on the clock of the test.
 */
async function saturate({ semantics, callers, calls, ...limit }: Saturation): Promise<Result> {
  const { clock } = fleet;
  const limiter = makeLimiter(semantics, limit);
  const random = seededRandom(1);
  const latencyMs = (): number => 1 + 3 * random();
  const accepted: number[] = [];
  const counts = { refused: 0, answered: 0, atOnce: 0 };
  const waiting = new Set<Waiting>();
  const ask = (replica: Replica, apiClock: ApiClock, caller: string): void => {
    const asked = replica.driver.ask({ owner: caller, caller });
    if (asked.state.kind === 'granted') counts.atOnce++;
    waiting.add({ replica, apiClock, caller, asked });
  };
  const send = ({ replica, apiClock, caller, asked }: Waiting): void => {
    const sentAt = clock.now();
    clock.after(latencyMs(), () => {
      const at = clock.now();
      const verdict = limiter.take(at);
      if (verdict.allowed) accepted.push(at);
      else counts.refused++;
      clock.after(latencyMs(), () => {
        const receivedAt = clock.now();
        apiClock.observe({ dateMs: Math.floor(at / 1000) * 1000, sentAt, receivedAt });
        const reset = { kind: 'instant', atMs: verdict.resetAtMs, resolutionMs: 0.001 } as const;
        replica.ledger.settle(replica.driver.grantOf(asked), {
          kind: 'answered',
          answer: {
            status: verdict.allowed ? 200 : 429,
            reading: { limit: verdict.limit, remaining: verdict.remaining, reset },
            sentAt,
            receivedAt,
          },
        });
        replica.permits.release();
        counts.answered++;
        ask(replica, apiClock, caller);
      });
    });
  };
  for (const name of ['a', 'b', 'c']) {
    const apiClock = makeApiClock();
    const replica = fleet.add(name, { sockets: 1000, maxQueue: 1000, apiClock });
    for (let i = 0; i < callers; i++) ask(replica, apiClock, `${name}-${i}`);
  }
  while (counts.answered < calls) {
    await fleet.quiet();
    for (const one of waiting) {
      if (one.asked.state.kind === 'waiting') continue;
      waiting.delete(one);
      send(one);
    }
    const next = clock.nextAt();
    if (next === undefined) throw new Error('expected a timer');
    clock.advance(Math.max(0, next - clock.now()));
  }
  return { refused: counts.refused, accepted, atOnce: counts.atOnce };
}

describe('three saturated replicas', () => {
  test.each<Semantics>(['fixed', 'aligned', 'sliding', 'leaky'])(
    'use a %s limit to the full, and the API refuses nothing',
    async (semantics) => {
      const limit = 60;
      const periodMs = 2000;
      const calls = limit * 7;
      const result = await saturate({ semantics, limit, periodMs, callers: 20, calls });
      expect(result.refused).toBe(0);
      // From the middle of the second budget: by then requests always wait.
      const halfAt: number[] = [];
      for (let i = limit * 1.5; i < result.accepted.length; i += limit) {
        halfAt.push(result.accepted[i] ?? 0);
      }
      expect(utilisationOf(halfAt, periodMs)).toBeGreaterThanOrEqual(0.99);
    },
  );

  test.each<Semantics>(['fixed', 'sliding'])(
    'prefetch from a wide %s limit, and the API refuses nothing',
    async (semantics) => {
      const wide = { limit: 800, periodMs: 1500 };
      const result = await saturate({ semantics, ...wide, callers: 20, calls: 800 * 3 });
      expect(result.refused).toBe(0);
      expect(result.atOnce).toBeGreaterThan(0);
    },
  );
});
