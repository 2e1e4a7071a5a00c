import { describe, expect, test } from 'vitest';
import type { Observation } from '../../src/budget/observation.ts';
import { runWorld } from '../support/bucket-world.ts';
import { LocalBudget, type LocalLease } from '../../src/ledger/local/local-budget.ts';

const NO_OFFSET = { low: 0, high: 0 };
const T0 = 1_000_000;
const MINUTE_MS = 60_000;
const noJitter = (): number => 0.999;

/** A bucket whose time goes on with each call. */
function makeWorld(replicas = 1) {
  const bucket = new LocalBudget(T0);
  if (replicas > 1) {
    bucket.startShare({ reported: undefined, blockedUntil: undefined, slots: [] }, replicas, T0);
  }
  let now = T0;
  const at = (time: number): void => {
    now = time;
    bucket.advance(now, NO_OFFSET);
  };
  const answer = (lease: LocalLease, reported: Partial<Observation>): void => {
    const observation = {
      status: 200,
      basis: 'instant',
      sameWithinMs: 0,
      uncertaintyMs: 0,
      receivedAt: now,
      ...reported,
    } as const;
    bucket.answered(lease, observation, now, noJitter);
  };
  const call = (cost: number | undefined, reported: Partial<Observation>): void => {
    const lease = bucket.grant(now, cost);
    at(now + 10);
    answer(lease, reported);
  };
  /** When a request of this cost is granted, if nothing else happens. */
  const grantedAt = (cost?: number): number => {
    while (bucket.offer(now, cost) === undefined) at(bucket.nextWakeAt(now));
    return now;
  };
  at(T0);
  return { bucket, at, answer, call, grantedAt };
}

describe('the learned cost of a call', () => {
  const full = { limit: 100, remaining: 99, resetAt: T0 + MINUTE_MS };

  test('is never above the limit, whatever one answer reports', () => {
    const { bucket, call, grantedAt } = makeWorld();
    call(undefined, full);
    call(undefined, { ...full, status: 429, remaining: 0, cost: 600 });
    expect(bucket.isTooCostly(bucket.callCost)).toBe(false);
    grantedAt();
    expect(bucket.offer(grantedAt())).toBeDefined();
  });

  test('is never above a limit that falls', () => {
    const { bucket, call } = makeWorld();
    call(undefined, { limit: 1000, remaining: 500, resetAt: T0 + MINUTE_MS, cost: 500 });
    expect(bucket.callCost).toBe(500);
    call(undefined, { limit: 50, remaining: 40, resetAt: T0 + MINUTE_MS });
    expect(bucket.isTooCostly(bucket.callCost)).toBe(false);
  });

  test('is not that of a call that states its own', () => {
    const { bucket, call } = makeWorld();
    call(undefined, full);
    call(50, { ...full, remaining: 49, cost: 50 });
    expect(bucket.callCost).toBe(1);
  });
});

describe('the learned cost of a call that follows from what remains', () => {
  /** Two calls of 5 operations each. */
  function learned() {
    const world = makeWorld();
    const { call } = world;
    const reported = { limit: 100, sameWithinMs: 1000, uncertaintyMs: 2000 };
    const at = { ...reported, resetAt: T0 + 12_000 };
    for (const remaining of [95, 90]) call(undefined, { ...at, remaining });
    expect(world.bucket.callCost).toBe(5);
    return { ...world, reported, resetAt: at.resetAt };
  }

  test('stays when a window is open again before its latest reset', () => {
    const { bucket, call, grantedAt, reported, resetAt: firstResetAt } = learned();
    for (let window = 0; window < 4; window++) {
      const resetAt = firstResetAt + window * 12_000;
      for (let remaining = window === 0 ? 85 : 90; remaining >= 0; remaining -= 5) {
        call(undefined, { ...reported, resetAt, remaining });
      }
      const testedAt = grantedAt();
      // Which request opened the first window is not known.
      expect(testedAt).toBeLessThan(window === 0 ? resetAt + 1 : resetAt - 900);
      call(undefined, { ...reported, resetAt: resetAt + 12_000, remaining: 95 });
      expect(bucket.callCost).toBe(5);
    }
  });

  test('is found where a budget of tokens falls by hundreds, before the others follow', () => {
    const { bucket, call, grantedAt } = makeWorld();
    const tokens = { limit: 6000, resetAt: T0 + MINUTE_MS };
    call(undefined, { ...tokens, remaining: 5750 });
    // One request at a time, until the cost is known.
    expect(bucket.offer(grantedAt())).toBe('canary');
    call(undefined, { ...tokens, remaining: 5500 });
    expect(bucket.callCost).toBe(250);
  });

  test('is the lower of two calls where each costs another number of tokens', () => {
    const { bucket, call } = makeWorld();
    const tokens = { limit: 10_000, resetAt: T0 + MINUTE_MS };
    for (const remaining of [9700, 9263]) call(undefined, { ...tokens, remaining });
    expect(bucket.callCost).toBe(300);
  });

  test('is not what other consumers spend between two calls', () => {
    const { bucket, call } = makeWorld();
    const reported = { limit: 5000, resetAt: T0 + MINUTE_MS };
    for (const remaining of [4000, 3990, 3975]) call(undefined, { ...reported, remaining });
    expect(bucket.callCost).toBe(1);
  });

  test('stays when operations return that may return later', () => {
    const { bucket, at, call, reported, resetAt } = learned();
    at(resetAt - 1500);
    // The API had returned one of the two calls.
    call(undefined, { ...reported, resetAt: resetAt + 10_000, remaining: 90 });
    expect(bucket.callCost).toBe(5);
  });

  test('stays when the API refuses a call although something remains', () => {
    const { bucket, call, reported, resetAt } = learned();
    call(undefined, { ...reported, resetAt, status: 429, remaining: 90, retryAt: T0 + 1000 });
    expect(bucket.callCost).toBe(5);
    // The refused call is none of those by which `remaining` falls.
    call(undefined, { ...reported, resetAt, remaining: 85 });
    expect(bucket.callCost).toBe(5);
  });

  test('stays when the limit is raised', () => {
    const { bucket, call, reported, resetAt } = learned();
    call(undefined, { ...reported, resetAt, limit: 200, remaining: 185 });
    expect(bucket.callCost).toBe(5);
  });
});

describe('a request that costs several operations', () => {
  test('does not wait for a minute when the reset left too little of the limit', () => {
    const { bucket, at, call, grantedAt } = makeWorld();
    call(undefined, { limit: 50, remaining: 49, resetAt: T0 + 10_000 });
    // The operation may return after the reset.
    at(T0 + 5000);
    bucket.lost(bucket.grant(T0 + 5000, 1), T0 + 5000);
    expect(grantedAt(50)).toBeLessThanOrEqual(T0 + 12_000);
  });

  test('does not wait for a minute where no reset is known', () => {
    const { call, grantedAt } = makeWorld();
    call(undefined, { limit: 100, remaining: 10 });
    expect(grantedAt(50)).toBeLessThanOrEqual(T0 + 3000);
  });

  test('is tried when the bucket is full if the API does not state its limit', () => {
    const { call, grantedAt } = makeWorld();
    call(undefined, { remaining: 10, resetAt: T0 + 5000 });
    expect(grantedAt(50)).toBeLessThanOrEqual(T0 + 7000);
  });

  test('is not the canary in place of one that was not sent, if another request took its place', () => {
    const { bucket, at, answer, call } = makeWorld();
    call(undefined, { limit: 10, remaining: 0, resetAt: T0 + 1000 });
    at(T0 + 1000);
    const canary = bucket.grant(T0 + 1000, 1);
    at(T0 + 2000);
    const [first] = [bucket.grant(T0 + 2000, 4), bucket.grant(T0 + 2000, 5)];
    // The API counted both, and the other answer is still on its way.
    answer(first, { limit: 10, remaining: 1, resetAt: T0 + 12_000 });
    bucket.unsent(canary);
    expect(bucket.offer(T0 + 2000, 5)).toBeUndefined();
  });

  test('is not too costly for a limit that is no multiple of the number of replicas', () => {
    const { bucket, call } = makeWorld(3);
    call(1, { limit: 100, remaining: 99, resetAt: T0 + MINUTE_MS });
    expect(bucket.isTooCostly(100)).toBe(false);
    expect(bucket.isTooCostly(102)).toBe(true);
  });
});

describe('requests of several operations to a leaky bucket', () => {
  test('are never refused, although their answers arrive in another order', () => {
    const answeredAfter = (toApiMs: number, backMs: number) =>
      ({ kind: 'answered', toApiMs, backMs }) as const;
    const { atTheApi } = runWorld({
      semantics: 'leaky',
      limit: 22,
      periodMs: 4000,
      fates: [
        [1, 1],
        [182, 1],
        [136, 410],
        [2, 1],
      ].map(([to = 0, back = 0]) => answeredAfter(to, back)),
      maxInFlight: 2,
      runMs: 300_000,
      costs: [8, 4, 3],
    });
    expect(atTheApi.filter(({ accepted }) => !accepted)).toEqual([]);
  });
});

describe('a canary that asks about slots in doubt', () => {
  test('is followed by no request that they do not cover, if it was not sent', () => {
    const unsent = { toApiMs: 1, backMs: 1, kind: 'unsent' } as const;
    const answered = { ...unsent, kind: 'answered' } as const;
    const slow = { ...answered, toApiMs: 5 };
    const { atTheApi } = runWorld({
      semantics: 'sliding',
      limit: 21,
      periodMs: 4000,
      fates: [answered, answered, unsent, answered, unsent, slow, answered],
      maxInFlight: 3,
      runMs: 300_000,
      aboveMs: 1,
      costs: [1, 10],
    });
    expect(atTheApi.filter(({ accepted }) => !accepted)).toEqual([]);
  });
});

describe('a window whose reset is in whole seconds', () => {
  const rounded = { limit: 100, sameWithinMs: 1000, uncertaintyMs: 2000 };

  test.each([1, 50])('is tested early with requests that cost %d', (cost) => {
    const { bucket, at, call, grantedAt } = makeWorld();
    let openedAt = T0;
    for (let window = 0; window < 4; window++) {
      const resetAt = Math.ceil((openedAt + 10_010) / 1000) * 1000 + 1000;
      call(cost, { ...rounded, remaining: 100 - cost, resetAt });
      for (let left = 100 - 2 * cost; left >= 0; left -= cost) {
        call(cost, { ...rounded, remaining: left, resetAt });
      }
      openedAt = grantedAt(cost);
      at(openedAt);
      // Which request opened the first window is not known.
      expect(openedAt).toBeLessThan(window === 0 ? resetAt + 1 : resetAt - 900);
      expect(bucket.offer(openedAt, cost)).toBe('canary');
    }
  });
});
