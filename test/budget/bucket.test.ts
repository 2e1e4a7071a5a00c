import { describe, expect, test } from 'vitest';
import { LocalBudget, type LocalLease } from '../../src/ledger/local/local-budget.ts';
import type { Observation } from '../../src/budget/observation.ts';

const NO_OFFSET = { low: 0, high: 0 };
const T0 = 1_000_000;
const HOUR_MS = 3_600_000;
const noJitter = (): number => 0.999;

/** An answer with exact timestamps, from an API whose clock equals ours. */
function observationAt(now: number, reported: Partial<Observation> = {}): Observation {
  return {
    status: 200,
    basis: 'instant',
    sameWithinMs: 0,
    uncertaintyMs: 0,
    receivedAt: now,
    ...reported,
  };
}

/** A bucket of 10 a minute whose window opened at T0, 50 ms before now. */
function opened(remaining = 9): { bucket: LocalBudget; now: number } {
  const bucket = new LocalBudget(T0);
  bucket.advance(T0, NO_OFFSET);
  const now = T0 + 50;
  const first = bucket.grant(T0);
  bucket.advance(now, NO_OFFSET);
  bucket.answered(
    first,
    observationAt(now, { limit: 10, remaining, resetAt: T0 + 60_000 }),
    now,
    noJitter,
  );
  return { bucket, now };
}

function grantAll(bucket: LocalBudget, now: number): LocalLease[] {
  const leases: LocalLease[] = [];
  bucket.advance(now, NO_OFFSET);
  while (bucket.offer(now) !== undefined && leases.length < 5000) leases.push(bucket.grant(now));
  return leases;
}

function answerAll(
  bucket: LocalBudget,
  leases: LocalLease[],
  now: number,
  reported: Partial<Observation>,
): void {
  bucket.advance(now, NO_OFFSET);
  for (const lease of leases) bucket.answered(lease, observationAt(now, reported), now, noJitter);
}

describe('an unopened bucket', () => {
  test('grants one first request, and further ones after 1, 2, 4 … s while none is answered', () => {
    const bucket = new LocalBudget(T0);
    const sentAt: number[] = [];
    for (let now = T0; now < T0 + 9000; now += 100) {
      for (const lease of grantAll(bucket, now)) {
        expect(lease.kind).toBe('first');
        sentAt.push(now - T0);
      }
    }
    expect(sentAt).toEqual([0, 1000, 3000, 7000]);
  });

  test('repeats a first request at once if it was not sent, although another one is in flight', () => {
    const bucket = new LocalBudget(T0);
    grantAll(bucket, T0);
    const [unsent] = grantAll(bucket, T0 + 1000);
    if (unsent === undefined) throw new Error('expected a second first request');
    expect(grantAll(bucket, T0 + 1001)).toEqual([]);
    bucket.unsent(unsent);
    expect(grantAll(bucket, T0 + 1001).map(({ kind }) => kind)).toEqual(['first']);
  });

  test.each([401, 403, 404, 406, 502])('is not opened by a %d without rate headers', (status) => {
    const bucket = new LocalBudget(T0);
    answerAll(bucket, grantAll(bucket, T0), T0 + 50, { status });
    expect(grantAll(bucket, T0 + 50).map(({ kind }) => kind)).toEqual(['first']);
  });

  test('is opened as unmetered by a 2xx without rate headers, and uses slow start', () => {
    const bucket = new LocalBudget(T0);
    const rounds: number[] = [];
    for (let round = 0; round < 5; round++) {
      const leases = grantAll(bucket, T0 + round * 100);
      rounds.push(leases.length);
      answerAll(bucket, leases, T0 + round * 100 + 50, {});
    }
    expect(rounds).toEqual([1, 2, 4, 8, 16]);
  });

  test('never has more than 1024 unmetered requests in flight', () => {
    const bucket = new LocalBudget(T0);
    let most = 0;
    for (let round = 0; round < 20; round++) {
      const leases = grantAll(bucket, T0 + round);
      most = Math.max(most, leases.length);
      answerAll(bucket, leases, T0 + round, {});
    }
    expect(most).toBe(1024);
  });

  test('uses a configured limit, and returns each slot a period after its answer', () => {
    const bucket = new LocalBudget(T0, { limit: 3, periodMs: 1000 });
    const leases = grantAll(bucket, T0);
    expect(leases).toHaveLength(3);
    answerAll(bucket, leases, T0 + 100, {});
    expect(grantAll(bucket, T0 + 1099)).toEqual([]);
    expect(grantAll(bucket, T0 + 1100)).toHaveLength(3);
  });
});

describe('a metered bucket', () => {
  test('spends what remains minus the leases in flight', () => {
    const { bucket, now } = opened(9);
    expect(grantAll(bucket, now)).toHaveLength(9);
    expect(bucket.view(now)).toMatchObject({ limit: 10, remaining: 9, leases: 9 });
  });

  test('counts a lease as spent after ten seconds, and a late answer does not return it', () => {
    const { bucket, now } = opened(2);
    const [slow] = grantAll(bucket, now);
    bucket.advance(now + 10_000, NO_OFFSET);
    expect(bucket.view(now + 10_000)).toMatchObject({ remaining: 0, leases: 0 });
    if (slow === undefined) throw new Error('expected a grant');
    const later = now + 20_000;
    bucket.advance(later, NO_OFFSET);
    bucket.answered(
      slow,
      observationAt(later, { limit: 10, remaining: 1, resetAt: T0 + 60_000 }),
      later,
      noJitter,
    );
    // The other request may have reached the API after this one, and be missing in its number.
    expect(bucket.view(later)).toMatchObject({ remaining: 0, leases: 0 });
  });

  test('counts a lost request as spent, also the last one that remained', () => {
    const { bucket, now } = opened(1);
    const [lease] = grantAll(bucket, now);
    if (lease === undefined) throw new Error('expected a grant');
    bucket.lost(lease, now);
    expect(bucket.view(now)).toMatchObject({ remaining: 0, leases: 0 });
    expect(grantAll(bucket, now + 50)).toEqual([]);
  });

  test.each([
    [399, 4],
    [400, 5],
    [499, 5],
    [500, 4],
  ])(
    'counts a %i without rate headers unless it is a 4xx: %i of 5 operations remain',
    (status, remaining) => {
      const { bucket, now } = opened(5);
      const [lease, ...others] = grantAll(bucket, now);
      if (lease === undefined) throw new Error('expected a grant');
      for (const other of others) bucket.unsent(other);
      answerAll(bucket, [lease], now + 50, { status });
      expect(bucket.view(now + 50).remaining).toBe(remaining);
    },
  );

  test('asks with a canary after two seconds if the last operation is lost and no reset is known', () => {
    const bucket = new LocalBudget(T0);
    answerAll(bucket, grantAll(bucket, T0), T0, { limit: 2, remaining: 1 });
    bucket.advance(T0 + 2000, NO_OFFSET);
    const lease = bucket.grant(T0 + 2000);
    expect(lease.kind).toBe('regular');
    bucket.lost(lease, T0 + 2000);
    expect(bucket.nextWakeAt(T0 + 2000)).toBe(T0 + 4000);
    expect(grantAll(bucket, T0 + 4000).map(({ kind }) => kind)).toEqual(['canary']);
  });

  test('asks after 1, 2, 4 … s while nothing remains and no reset is known', () => {
    const bucket = new LocalBudget(T0);
    const nothing = { limit: 5, remaining: 0 };
    answerAll(bucket, grantAll(bucket, T0), T0, nothing);
    const askedAt: number[] = [];
    for (let now = T0; now < T0 + 20_000; now += 100) {
      const leases = grantAll(bucket, now);
      if (leases.length > 0) askedAt.push(now - T0);
      answerAll(bucket, leases, now, nothing);
    }
    expect(askedAt).toEqual([1000, 3000, 7000, 15_000]);
  });

  test('grants one canary after a reset, and the other requests when it is answered', () => {
    const { bucket } = opened(0);
    const refill = T0 + 60_000;
    const [canary, ...more] = grantAll(bucket, refill);
    expect(canary?.kind).toBe('canary');
    expect(more).toEqual([]);
    if (canary === undefined) throw new Error('expected a canary');
    const reported = { limit: 10, remaining: 9, resetAt: refill + 60_000 };
    answerAll(bucket, [canary], refill + 80, reported);
    expect(grantAll(bucket, refill + 80)).toHaveLength(9);
  });

  test('waits for the canary at most a second after the uncertainty', () => {
    const { bucket } = opened(0);
    const refill = T0 + 60_000;
    expect(grantAll(bucket, refill)).toHaveLength(1);
    expect(grantAll(bucket, refill + 999)).toHaveLength(0);
    expect(bucket.nextWakeAt(refill + 999)).toBe(refill + 1000);
    expect(grantAll(bucket, refill + 1000)).toHaveLength(9);
  });

  test('grants no canary when a back-off ends and a slot has returned', () => {
    const { bucket, now } = opened(1);
    const [lease] = grantAll(bucket, now);
    if (lease === undefined) throw new Error('expected a grant');
    const resetAt = T0 + 60_000;
    const at = now + 50;
    bucket.advance(at, NO_OFFSET);
    // Another consumer spent what we counted as ours. The slot of the first request returns first.
    bucket.answered(
      lease,
      observationAt(at, { status: 429, limit: 10, remaining: 0, resetAt: resetAt + 5000 }),
      at,
      noJitter,
    );
    const kinds = grantAll(bucket, resetAt + 100).map(({ kind }) => kind);
    expect(kinds).toEqual(['regular']);
  });

  test('grants no further canary when one was unsent and regular grants took its place', () => {
    const { bucket } = opened(0);
    const refill = T0 + 60_000;
    const [canary] = grantAll(bucket, refill);
    if (canary === undefined) throw new Error('expected a canary');
    bucket.unsent(canary);
    expect(grantAll(bucket, refill + 2000)).toHaveLength(10);
  });

  test('does not count a slot that the API had returned when an older answer reports its reset', () => {
    const bucket = new LocalBudget(T0);
    const [first] = grantAll(bucket, T0);
    if (first === undefined) throw new Error('expected a first request');
    answerAll(bucket, [first], T0 + 2, {
      limit: 5,
      remaining: 4,
      resetAt: T0 + 10,
      uncertaintyMs: 10,
    });
    const [slow, quick] = grantAll(bucket, T0 + 2);
    if (slow === undefined || quick === undefined) throw new Error('expected two grants');
    const next = { limit: 5, remaining: 4, resetAt: T0 + 60_000, uncertaintyMs: 10 };
    answerAll(bucket, [quick], T0 + 6, next);
    answerAll(bucket, [slow], T0 + 8, {
      limit: 5,
      remaining: 3,
      resetAt: T0 + 10,
      uncertaintyMs: 10,
    });
    bucket.advance(T0 + 50, NO_OFFSET);
    expect(bucket.view(T0 + 50)).toMatchObject({ remaining: 4 });
  });

  test('counts as returned what the newest answer no longer counts when an older one adds its slot', () => {
    const { bucket, now } = opened(9);
    const [older, newer, ...others] = grantAll(bucket, now);
    if (older === undefined || newer === undefined) throw new Error('expected two grants');
    for (const other of others) bucket.unsent(other);
    // Of three operations one has returned by then.
    answerAll(bucket, [newer], now + 100, { limit: 10, remaining: 8, resetAt: T0 + 70_000 });
    answerAll(bucket, [older], now + 101, { limit: 10, remaining: 8, resetAt: T0 + 65_000 });
    expect(grantAll(bucket, T0 + 64_999)).toHaveLength(8);
    expect(grantAll(bucket, T0 + 65_000)).toHaveLength(1);
  });

  test('takes back what returned early when an older answer adds the slots that had not drained', () => {
    const bucket = new LocalBudget(T0);
    const request = (cost: number, at: number): LocalLease => {
      bucket.advance(at, NO_OFFSET);
      return bucket.grant(at, cost);
    };
    const answer = (lease: LocalLease, at: number, remaining: number, resetAt: number): void =>
      answerAll(bucket, [lease], at, { limit: 16, remaining, resetAt });
    // A leaky bucket that drains one operation a second.
    answer(request(8, T0), T0 + 1, 8, T0 + 8000);
    // The API has drained seven of the eight, and answers the older request first.
    const older = request(3, T0 + 7000);
    const newer = request(4, T0 + 7000);
    answer(newer, T0 + 7001, 8, T0 + 15_000);
    bucket.advance(T0 + 8000, NO_OFFSET);
    expect(bucket.available).toBe(9);
    answer(older, T0 + 8001, 12, T0 + 11_000);
    // Three and four of its sixteen operations are still spent.
    expect(bucket.available).toBe(9);
    bucket.advance(T0 + 11_000, NO_OFFSET);
    expect(bucket.available).toBe(12);
  });

  test('is believed full at the later of two resets, although the counts show another order', () => {
    const bucket = new LocalBudget(T0);
    bucket.advance(T0, NO_OFFSET);
    // A leaky bucket that drains two operations a second.
    const answer = (lease: LocalLease, at: number, remaining: number, resetAt: number): void =>
      answerAll(bucket, [lease], T0 + at, { limit: 16, remaining, resetAt: T0 + resetAt });
    answer(bucket.grant(T0, 1), 1, 15, 500);
    const [earlier, later] = [bucket.grant(T0 + 1, 8), bucket.grant(T0 + 1, 1)];
    answer(earlier, 501, 8, 4500);
    // Four operations drained before this request arrived, so more remains than after the earlier one.
    answer(later, 2501, 11, 5000);
    bucket.advance(T0 + 4500, NO_OFFSET);
    expect(bucket.offer(T0 + 4500, 16)).toBeUndefined();
    bucket.advance(T0 + 5000, NO_OFFSET);
    expect(bucket.offer(T0 + 5000, 16)).toBe('canary');
  });

  describe('whose slots return close together', () => {
    const uncertaintyMs = 10;
    /**
     * A limit of 3 a minute, spent at T0, T0+3 and T0+6. The first slot returned, was spent again, and
     * the answer arrived.
     */
    function clustered(replicas = 1): { bucket: LocalBudget; now: number } {
      const bucket = new LocalBudget(T0);
      if (replicas > 1) {
        const unknown = { slots: [], reported: undefined, blockedUntil: undefined };
        bucket.startShare(unknown, replicas, T0);
      }
      const common = { limit: 3 * replicas, uncertaintyMs };
      for (const [at, remaining] of [
        [0, 2],
        [3, 1],
        [6, 0],
        [60_000, 0],
      ] as const) {
        const [lease, ...others] = grantAll(bucket, T0 + at);
        if (lease === undefined) throw new Error('expected a grant');
        for (const other of others) bucket.unsent(other);
        const now = T0 + at + 2;
        const reported = { ...common, remaining: remaining * replicas, resetAt: T0 + at + 60_000 };
        answerAll(bucket, [lease], now, reported);
      }
      return { bucket, now: T0 + 60_002 };
    }

    test('checks with a canary for slots that the newest answer may not count', () => {
      const { bucket, now } = clustered();
      const certainAt = now + uncertaintyMs;
      expect(grantAll(bucket, certainAt - 1)).toEqual([]);
      expect(bucket.nextWakeAt(now)).toBe(certainAt);
      expect(bucket.eta(1, now)).toBe(certainAt);
      expect(bucket.eta(2, now)).toBe(certainAt);
      expect(bucket.eta(3, now)).toBe(T0 + 120_000);
      const [canary, ...more] = grantAll(bucket, certainAt);
      if (canary === undefined) throw new Error('expected a canary');
      expect([canary.kind, more]).toEqual(['canary', []]);
      const reported = { limit: 3, remaining: 1, resetAt: certainAt + 60_001, uncertaintyMs };
      answerAll(bucket, [canary], certainAt + 2, reported);
      expect(grantAll(bucket, certainAt + 2)).toHaveLength(1);
    });

    test('checks once, and waits for the next slot when the answer counted them', () => {
      const { bucket, now } = clustered();
      const certainAt = now + uncertaintyMs;
      const reported = {
        status: 429,
        limit: 3,
        remaining: 0,
        resetAt: T0 + 120_000,
        uncertaintyMs,
      };
      answerAll(bucket, grantAll(bucket, certainAt), certainAt + 2, reported);
      expect(grantAll(bucket, T0 + 119_999)).toEqual([]);
      expect(grantAll(bucket, T0 + 120_000)).not.toEqual([]);
    });

    test('does not check in a share, because other replicas spend as well', () => {
      const { bucket, now } = clustered(2);
      expect(grantAll(bucket, now + 1000)).toEqual([]);
    });

    test('does not check while a lease is in flight, whose answer shows the same', () => {
      const { bucket, now } = clustered();
      const later = now + uncertaintyMs;
      const [canary] = grantAll(bucket, later);
      expect(canary?.kind).toBe('canary');
      expect(grantAll(bucket, later + 5000)).toEqual([]);
    });
  });

  test('is not stopped by one wrong reset', () => {
    const { bucket, now } = opened(9);
    const [first, second] = grantAll(bucket, now);
    if (first === undefined || second === undefined) throw new Error('expected grants');
    answerAll(bucket, [first], now + 50, { limit: 10, remaining: 0, resetAt: T0 + 86_400_000 });
    expect(grantAll(bucket, now + 60)).toEqual([]);
    // After a minute without any grant a canary is granted in any state.
    const [canary] = grantAll(bucket, now + 60_000);
    if (canary === undefined) throw new Error('expected a canary');
    const at = now + 60_080;
    answerAll(bucket, [canary], at, { limit: 10, remaining: 9, resetAt: now + 120_000 });
    expect(grantAll(bucket, at)).toHaveLength(9);
  });

  test('grants a canary after a minute without any grant, whatever the API reported', () => {
    const bucket = new LocalBudget(T0);
    const first = grantAll(bucket, T0);
    answerAll(bucket, first, T0 + 50, { limit: 10, remaining: 0, resetAt: T0 + 86_400_000 });
    expect(grantAll(bucket, T0 + 59_999)).toEqual([]);
    expect(grantAll(bucket, T0 + 60_000).map(({ kind }) => kind)).toEqual(['canary']);
  });

  test('subtracts one where the API reports the count before the call', () => {
    const { bucket, now } = opened(10);
    expect(grantAll(bucket, now)).toHaveLength(9);
  });

  test('subtracts none where the API reports no limit, whose first count seems to be all of it', () => {
    const bucket = new LocalBudget(T0);
    bucket.advance(T0, NO_OFFSET);
    answerAll(bucket, [bucket.grant(T0)], T0 + 50, { remaining: 9, resetAt: T0 + 60_000 });
    expect(grantAll(bucket, T0 + 50)).toHaveLength(9);
  });

  test('allows each lease to end once', () => {
    const { bucket, now } = opened(9);
    const [a, b, c] = grantAll(bucket, now);
    if (a === undefined || b === undefined || c === undefined) throw new Error('expected grants');
    bucket.unsent(a);
    bucket.lost(b, now);
    answerAll(bucket, [c], now, { limit: 10, remaining: 8, resetAt: T0 + 60_000 });
    for (const lease of [a, b, c]) {
      expect(() => bucket.unsent(lease)).toThrow('a grant was settled twice');
      expect(() => bucket.lost(lease, now)).toThrow('a grant was settled twice');
      expect(() => bucket.answered(lease, observationAt(now), now, noJitter)).toThrow(
        'settled twice',
      );
    }
  });

  test('throws when a grant is requested that it does not offer', () => {
    const { bucket, now } = opened(0);
    expect(() => bucket.grant(now)).toThrow('offered none');
  });
});

describe('a 429', () => {
  test('blocks until its Retry-After, and then grants again', () => {
    const { bucket, now } = opened(5);
    const [lease] = grantAll(bucket, now);
    if (lease === undefined) throw new Error('expected a grant');
    const reported = {
      status: 429,
      limit: 10,
      remaining: 0,
      resetAt: T0 + 60_000,
      retryAt: T0 + 70_000,
    };
    answerAll(bucket, [lease], now + 50, reported);
    for (const at of [now + 100, T0 + 60_000, T0 + 69_999]) {
      expect(grantAll(bucket, at)).toEqual([]);
    }
    expect(grantAll(bucket, T0 + 70_000).length).toBeGreaterThan(0);
  });

  test('without a budget shows that what remains is not what it says: one canary goes after it', () => {
    const { bucket, now } = opened(5);
    const [lease, ...others] = grantAll(bucket, now);
    if (lease === undefined) throw new Error('expected a grant');
    for (const other of others) bucket.unsent(other);
    answerAll(bucket, [lease], now + 50, { status: 429, retryAt: T0 + 5000 });
    expect(grantAll(bucket, T0 + 4999)).toEqual([]);
    expect(grantAll(bucket, T0 + 5000).map(({ kind }) => kind)).toEqual(['canary']);
  });

  describe('to one of two requests in flight, while the other one is answered with some remaining', () => {
    const resetAt = T0 + 60_000;

    function refusedAndAnswered(retryAt?: number): { bucket: LocalBudget; now: number } {
      const { bucket, now } = opened(9);
      const [refused, answered, ...others] = grantAll(bucket, now);
      if (refused === undefined || answered === undefined) throw new Error('expected two grants');
      for (const other of others) bucket.unsent(other);
      const refusal = { status: 429, limit: 10, remaining: 0, resetAt };
      answerAll(bucket, [refused], now, {
        ...refusal,
        ...(retryAt === undefined ? {} : { retryAt }),
      });
      expect(grantAll(bucket, now)).toEqual([]);
      answerAll(bucket, [answered], now, { limit: 10, remaining: 4, resetAt: resetAt + 1000 });
      return { bucket, now };
    }

    test('blocks no longer', () => {
      const { bucket, now } = refusedAndAnswered();
      expect(grantAll(bucket, now)).toHaveLength(4);
    });

    test('blocks until its Retry-After, which forecasts include', () => {
      const { bucket, now } = refusedAndAnswered(T0 + 70_000);
      expect(grantAll(bucket, now)).toEqual([]);
      expect(bucket.eta(1, now)).toBe(T0 + 70_000);
    });
  });

  test('that reports something remaining blocks nothing', () => {
    const { bucket, now } = opened(5);
    const [lease, ...others] = grantAll(bucket, now);
    if (lease === undefined) throw new Error('expected a grant');
    for (const other of others) bucket.unsent(other);
    const reported = {
      status: 429,
      limit: 10,
      remaining: 5,
      resetAt: T0 + 60_000,
      retryAt: T0 + 70_000,
    };
    answerAll(bucket, [lease], now + 50, reported);
    expect(grantAll(bucket, now + 50)).toHaveLength(5);
  });

  test('backs off once for requests that were in flight together, however many are refused', () => {
    const bucket = new LocalBudget(T0);
    let leases: LocalLease[] = [];
    for (let round = 0; round < 7; round++) {
      leases = grantAll(bucket, T0 + round);
      if (round < 6) answerAll(bucket, leases, T0 + round, {});
    }
    expect(leases).toHaveLength(64);
    answerAll(bucket, leases, T0 + 100, { status: 429 });
    // One second at most after the first refusal, as for a single one.
    expect(bucket.view(T0 + 100).blockedForMs).toBeLessThanOrEqual(1000);
  });

  test('backs off once also for a request that was granted in the moment of the first refusal', () => {
    const bucket = new LocalBudget(T0);
    answerAll(bucket, grantAll(bucket, T0), T0, {});
    const [first, second] = grantAll(bucket, T0 + 1);
    if (first === undefined || second === undefined) throw new Error('expected two grants');
    answerAll(bucket, [first], T0 + 1, { status: 429 });
    const { blockedForMs = 0 } = bucket.view(T0 + 1);
    answerAll(bucket, [second], T0 + 101, { status: 429 });
    expect(bucket.view(T0 + 101).blockedForMs).toBe(blockedForMs - 100);
  });

  test('backs off twice as long each time, up to a minute, while it reports no time', () => {
    const bucket = new LocalBudget(T0);
    let now = T0;
    const waits: number[] = [];
    for (let round = 0; round < 9; round++) {
      const [lease] = grantAll(bucket, now);
      if (lease === undefined) throw new Error('expected a grant');
      answerAll(bucket, [lease], now, { status: 429 });
      const wait = bucket.view(now).blockedForMs ?? 0;
      waits.push(Math.round(wait / 1000));
      now += wait;
    }
    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60]);
  });

  test('blocks until its Retry-After although the reset it reports is past', () => {
    const { bucket, now } = opened(5);
    const [lease, ...others] = grantAll(bucket, now);
    if (lease === undefined) throw new Error('expected a grant');
    for (const other of others) bucket.unsent(other);
    const reported = {
      status: 429,
      limit: 10,
      remaining: 0,
      resetAt: now - 1,
      retryAt: now + 5000,
    };
    answerAll(bucket, [lease], now + 50, reported);
    expect(grantAll(bucket, now + 60)).toEqual([]);
  });

  test('of a day is tested after an hour, and then after twice as long each time', () => {
    const { bucket, now } = opened(5);
    const [lease, ...others] = grantAll(bucket, now);
    if (lease === undefined) throw new Error('expected a grant');
    for (const other of others) bucket.unsent(other);
    const endAt = now + 24 * HOUR_MS;
    answerAll(bucket, [lease], now, { status: 429, retryAt: endAt });
    expect(bucket.nextWakeAt(now + 61_000)).toBeLessThanOrEqual(now + HOUR_MS);
    const testedAfterHours: number[] = [];
    for (let at = now; at < endAt; at += 60_000) {
      const canaries = grantAll(bucket, at);
      if (canaries.length === 0) continue;
      expect(canaries.map(({ kind }) => kind)).toEqual(['canary']);
      testedAfterHours.push(Math.round((at - now) / HOUR_MS));
      answerAll(bucket, canaries, at, { status: 429, retryAt: endAt });
    }
    expect(testedAfterHours).toEqual([1, 3, 7, 15]);
  });

  test('with only a reset blocks until then, and reveals no limit', () => {
    const bucket = new LocalBudget(T0);
    let now = T0;
    for (let round = 0; round < 5; round++) {
      answerAll(bucket, grantAll(bucket, now), now, {});
      now += 10;
    }
    const [lease, ...others] = grantAll(bucket, now);
    if (lease === undefined) throw new Error('expected a grant');
    for (const other of others) bucket.unsent(other);
    answerAll(bucket, [lease], now, { status: 429, resetAt: now + 5000 });
    expect(bucket.view(now)).toEqual({ blockedForMs: 5000, leases: 0 });
    expect(grantAll(bucket, now + 4999)).toEqual([]);
    const first = grantAll(bucket, now + 5000);
    expect(first).toHaveLength(1);
    answerAll(bucket, first, now + 5001, {});
    // The API took 31 before.
    expect(grantAll(bucket, now + 5002)).toHaveLength(30);
  });

  test('backs off from the first step again after a success, where the API reports nothing', () => {
    const bucket = new LocalBudget(T0);
    let now = T0;
    const waits: number[] = [];
    for (let round = 0; round < 6; round++) {
      const [lease, ...others] = grantAll(bucket, now);
      if (lease === undefined) throw new Error('expected a grant');
      for (const other of others) bucket.unsent(other);
      answerAll(bucket, [lease], now, { status: 429 });
      const wait = bucket.view(now).blockedForMs ?? 0;
      waits.push(Math.round(wait / 1000));
      now += wait;
      if (round % 3 === 2) {
        answerAll(bucket, grantAll(bucket, now), now, {});
        now += 1;
      }
    }
    expect(waits).toEqual([1, 2, 4, 1, 2, 4]);
  });
});

describe('a forecast', () => {
  test('counts what is available, then the reset, then one limit per period', () => {
    const { bucket, now } = opened(2);
    expect(bucket.eta(1, now)).toBe(now);
    expect(bucket.eta(2, now)).toBe(now);
    expect(bucket.eta(3, now)).toBe(T0 + 60_000);
    expect(bucket.eta(12, now)).toBe(T0 + 60_000);
    expect(bucket.eta(13, now)).toBe(T0 + 120_000);
    expect(bucket.eta(23, now)).toBe(T0 + 180_000);
  });

  test('uses the period of the limit that the newest answer reports', () => {
    const bucket = new LocalBudget(T0);
    // One answer reports the limit of a day, the next one that of a minute.
    const day = { limit: 5000, remaining: 4000, resetAt: T0 + 24 * HOUR_MS };
    answerAll(bucket, grantAll(bucket, T0), T0 + 10, day);
    const [lease, ...others] = grantAll(bucket, T0 + 20);
    if (lease === undefined) throw new Error('expected a grant');
    for (const other of others) bucket.unsent(other);
    answerAll(bucket, [lease], T0 + 30, { limit: 60, remaining: 0, resetAt: T0 + 60_000 });
    expect(bucket.eta(60, T0 + 30)).toBe(T0 + 60_000);
    expect(bucket.eta(61, T0 + 30)).toBeLessThan(T0 + 121_000);
  });

  test('knows the period of a window also at the end of a thousand answers, whose resets are near', () => {
    const bucket = new LocalBudget(T0);
    for (let i = 0; i < 1000; i++) {
      const now = T0 + 59 * i;
      bucket.advance(now, NO_OFFSET);
      const reported = { limit: 1000, remaining: 999 - i, resetAt: T0 + 60_000 };
      bucket.answered(bucket.grant(now), observationAt(now, reported), now, noJitter);
    }
    expect(bucket.periodMs).toBeGreaterThan(59_000);
  });

  test('follows the slots of each period in a sliding log', () => {
    const bucket = new LocalBudget(T0);
    for (const [at, remaining] of [
      [0, 2],
      [1000, 1],
      [2000, 0],
    ] as const) {
      bucket.advance(T0 + at, NO_OFFSET);
      const lease = bucket.grant(T0 + at);
      answerAll(bucket, [lease], T0 + at + 50, { limit: 3, remaining, resetAt: T0 + at + 60_000 });
    }
    const now = T0 + 3000;
    bucket.advance(now, NO_OFFSET);
    const etas = [1, 2, 3, 4, 5, 6, 7].map((rank) => (bucket.eta(rank, now) ?? 0) - T0);
    expect(etas).toEqual([60_000, 61_000, 62_000, 120_000, 121_000, 122_000, 180_000]);
  });

  test('is undefined for an unopened bucket', () => {
    expect(new LocalBudget(T0).eta(1, T0)).toBeUndefined();
  });
});
