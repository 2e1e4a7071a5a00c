import { describe, expect, test } from 'vitest';
import { Bucket, type Lease } from '../../src/budget/bucket.ts';
import type { Observation } from '../../src/budget/observation.ts';

const NO_OFFSET = { low: 0, high: 0 };
const T0 = 1_000_000;
const noJitter = (): number => 0.999;

/** An answer with exact stamps, on a clock that we share with the API. */
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
function opened(remaining = 9): { bucket: Bucket; now: number } {
  const bucket = new Bucket(T0);
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

function grantAll(bucket: Bucket, now: number): Lease[] {
  const leases: Lease[] = [];
  bucket.advance(now, NO_OFFSET);
  while (bucket.offer(now) !== undefined && leases.length < 5000) leases.push(bucket.grant(now));
  return leases;
}

function answerAll(
  bucket: Bucket,
  leases: Lease[],
  now: number,
  reported: Partial<Observation>,
): void {
  bucket.advance(now, NO_OFFSET);
  for (const lease of leases) bucket.answered(lease, observationAt(now, reported), now, noJitter);
}

describe('an unopened bucket', () => {
  test('sends one probe, and a further one each second, doubling, while it is unanswered', () => {
    const bucket = new Bucket(T0);
    const sentAt: number[] = [];
    for (let now = T0; now < T0 + 9000; now += 100) {
      for (const lease of grantAll(bucket, now)) {
        expect(lease.kind).toBe('probe');
        sentAt.push(now - T0);
      }
    }
    expect(sentAt).toEqual([0, 1000, 3000, 7000]);
  });

  test.each([401, 403, 404, 406, 502])('is not opened by a %d without rate headers', (status) => {
    const bucket = new Bucket(T0);
    answerAll(bucket, grantAll(bucket, T0), T0 + 50, { status });
    expect(grantAll(bucket, T0 + 50).map(({ kind }) => kind)).toEqual(['probe']);
  });

  test('is opened as unmetered by a 2xx without rate headers, and starts slowly', () => {
    const bucket = new Bucket(T0);
    const rounds: number[] = [];
    for (let round = 0; round < 5; round++) {
      const leases = grantAll(bucket, T0 + round * 100);
      rounds.push(leases.length);
      answerAll(bucket, leases, T0 + round * 100 + 50, {});
    }
    expect(rounds).toEqual([1, 2, 4, 8, 16]);
  });

  test('never has more than 1024 unmetered requests out', () => {
    const bucket = new Bucket(T0);
    let most = 0;
    for (let round = 0; round < 20; round++) {
      const leases = grantAll(bucket, T0 + round);
      most = Math.max(most, leases.length);
      answerAll(bucket, leases, T0 + round, {});
    }
    expect(most).toBe(1024);
  });

  test('believes a configured limit, and gives each slot back a period after its answer', () => {
    const bucket = new Bucket(T0, { limit: 3, periodMs: 1000 });
    const leases = grantAll(bucket, T0);
    expect(leases).toHaveLength(3);
    answerAll(bucket, leases, T0 + 100, {});
    expect(grantAll(bucket, T0 + 1099)).toEqual([]);
    expect(grantAll(bucket, T0 + 1100)).toHaveLength(3);
  });
});

describe('a metered bucket', () => {
  test('spends what is left less what is out', () => {
    const { bucket, now } = opened(9);
    expect(grantAll(bucket, now)).toHaveLength(9);
    expect(bucket.view(now)).toMatchObject({ limit: 10, remaining: 9, leases: 9 });
  });

  test('counts a lease as spent after ten seconds, and its late answer does not free it again', () => {
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
    // The other one of the two may have reached the API after it.
    expect(bucket.view(later)).toMatchObject({ remaining: 0, leases: 0 });
  });

  test('sends one canary after a refill by the clock, and the rest on its answer', () => {
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

  test('waits for the canary at most a second past the uncertainty', () => {
    const { bucket } = opened(0);
    const refill = T0 + 60_000;
    expect(grantAll(bucket, refill)).toHaveLength(1);
    expect(grantAll(bucket, refill + 999)).toHaveLength(0);
    expect(bucket.nextWakeAt(refill + 999)).toBe(refill + 1000);
    expect(grantAll(bucket, refill + 1000)).toHaveLength(9);
  });

  test('sends no canary on top of what came back when a block ends', () => {
    const { bucket, now } = opened(1);
    const [lease] = grantAll(bucket, now);
    if (lease === undefined) throw new Error('expected a grant');
    const resetAt = T0 + 60_000;
    const at = now + 50;
    bucket.advance(at, NO_OFFSET);
    // Refused against our own count: another consumer took it. The probe's slot comes back first.
    bucket.answered(
      lease,
      observationAt(at, { status: 429, limit: 10, remaining: 0, resetAt: resetAt + 5000 }),
      at,
      noJitter,
    );
    const kinds = grantAll(bucket, resetAt + 100).map(({ kind }) => kind);
    expect(kinds).toEqual(['slot']);
  });

  test('leaves no canary over when one was not sent and others went in its place', () => {
    const { bucket } = opened(0);
    const refill = T0 + 60_000;
    const [canary] = grantAll(bucket, refill);
    if (canary === undefined) throw new Error('expected a canary');
    bucket.unsent(canary);
    expect(grantAll(bucket, refill + 2000)).toHaveLength(10);
  });

  test('does not count what the API had back already when an older answer tells its reset', () => {
    const bucket = new Bucket(T0);
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

  describe('whose slots come back close to one another', () => {
    const uncertaintyMs = 10;
    /** Of 3 a minute, spent at T0, T0+3 and T0+6; the first is back, was spent again and answered. */
    function clustered(replicas = 1): { bucket: Bucket; now: number } {
      const bucket = new Bucket(T0);
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

    test('asks with a canary whether those that may be in an answer’s number came back after it', () => {
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

    test('asks once, and waits for the next slot when they were in it', () => {
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

    test('does not ask for a part of a budget, of which other replicas spend theirs', () => {
      const { bucket, now } = clustered(2);
      expect(grantAll(bucket, now + 1000)).toEqual([]);
    });

    test('does not ask while an answer is awaited, which will tell', () => {
      const { bucket, now } = clustered();
      const later = now + uncertaintyMs;
      const [canary] = grantAll(bucket, later);
      expect(canary?.kind).toBe('canary');
      expect(grantAll(bucket, later + 5000)).toEqual([]);
    });
  });

  test('does not let one bogus reset freeze it', () => {
    const { bucket, now } = opened(9);
    const [first, second] = grantAll(bucket, now);
    if (first === undefined || second === undefined) throw new Error('expected grants');
    answerAll(bucket, [first], now + 50, { limit: 10, remaining: 0, resetAt: T0 + 86_400_000 });
    expect(grantAll(bucket, now + 60)).toEqual([]);
    // Nobody is granted anything for a minute: then one goes all the same, and it tells.
    const [canary] = grantAll(bucket, now + 60_000);
    if (canary === undefined) throw new Error('expected a canary');
    const at = now + 60_080;
    answerAll(bucket, [canary], at, { limit: 10, remaining: 9, resetAt: now + 120_000 });
    expect(grantAll(bucket, at)).toHaveLength(9);
  });

  test('subtracts one where the API reports the count before the call', () => {
    const { bucket, now } = opened(10);
    expect(grantAll(bucket, now)).toHaveLength(9);
  });

  test('settles each grant once', () => {
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

  test('grants nothing that it does not offer', () => {
    const { bucket, now } = opened(0);
    expect(() => bucket.grant(now)).toThrow('not on offer');
  });
});

describe('a 429', () => {
  test('blocks until its Retry-After, and then one canary goes', () => {
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

  test('that still reports something left blocks nothing', () => {
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

  test('backs off once for a burst that was out together, however many of it are refused', () => {
    const bucket = new Bucket(T0);
    let leases: Lease[] = [];
    for (let round = 0; round < 7; round++) {
      leases = grantAll(bucket, T0 + round);
      if (round < 6) answerAll(bucket, leases, T0 + round, {});
    }
    expect(leases).toHaveLength(64);
    answerAll(bucket, leases, T0 + 100, { status: 429 });
    // One second at most after the first refusal, as for a single one.
    expect(bucket.view(T0 + 100).blockedForMs).toBeLessThanOrEqual(1000);
  });

  test('backs off longer and longer, up to a minute, while it is repeated and says nothing', () => {
    const bucket = new Bucket(T0);
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

  test('obeys a Retry-After although the reset beside it has passed', () => {
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

  test('under Retry-After a canary goes after ten minutes, however long it says', () => {
    const { bucket, now } = opened(5);
    const [lease, ...others] = grantAll(bucket, now);
    if (lease === undefined) throw new Error('expected a grant');
    for (const other of others) bucket.unsent(other);
    answerAll(bucket, [lease], now, { status: 429, retryAt: now + 86_400_000 });
    expect(bucket.nextWakeAt(now + 61_000)).toBeLessThanOrEqual(now + 600_000);
    expect(grantAll(bucket, now + 599_000)).toEqual([]);
    expect(grantAll(bucket, now + 600_000).map(({ kind }) => kind)).toEqual(['canary']);
  });
});

describe('a forecast', () => {
  test('goes through what is there, the reset, and then whole limits per period', () => {
    const { bucket, now } = opened(2);
    expect(bucket.eta(1, now)).toBe(now);
    expect(bucket.eta(2, now)).toBe(now);
    expect(bucket.eta(3, now)).toBe(T0 + 60_000);
    expect(bucket.eta(12, now)).toBe(T0 + 60_000);
    expect(bucket.eta(13, now)).toBe(T0 + 120_000);
    expect(bucket.eta(23, now)).toBe(T0 + 180_000);
  });

  test('is not made for a bucket of which nothing is known', () => {
    expect(new Bucket(T0).eta(1, T0)).toBeUndefined();
  });
});
