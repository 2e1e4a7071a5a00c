import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  gaveUp,
  longestWaitMs,
  makePatience,
  patienceAt,
  wasAnswered,
  type Patience,
} from '../../src/queue/patience.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { seededRandom } from '../support/seeded-random.ts';

const HOUR = 3_600_000;

/** A patience after disconnects at these ages, ten seconds apart; the last one was at `now`. */
function after(...ages: readonly number[]): { patience: Patience; now: number } {
  const patience = makePatience();
  let now = 0;
  for (const age of ages) gaveUp(patience, age, (now += 10_000));
  return { patience, now };
}

describe('a patience', () => {
  test('is learned from five disconnects in a row at about the same age', () => {
    const { patience, now } = after(5000, 5300, 5100, 4900);
    expect(patienceAt(patience, now)).toBeUndefined();
    expect(gaveUp(patience, 5050, now + 2000)).toBe('learned');
    expect(patienceAt(patience, now + 2000)).toBe(4900);
  });

  test('of a long timeout is learned from ages that differ by a tenth', () => {
    const { patience, now } = after(50_000, 52_000, 54_000, 51_000, 50_000);
    expect(patienceAt(patience, now)).toBe(50_000);
  });

  test.each([
    ['different ages', [3000, 9000, 15_000, 4000, 31_000, 7000, 12_000]],
    ['ages of which one differs', [5000, 5000, 5000, 5000, 9000, 5000, 5000, 5000, 5000]],
    ['ages below a second', [500, 500, 500, 500, 500, 500]],
  ])('is not learned from %s', (_name, ages) => {
    const { patience, now } = after(...ages);
    expect(patienceAt(patience, now)).toBeUndefined();
  });

  test('is not learned when an answer reached a call that had waited longer', () => {
    const { patience, now } = after(5000, 5000, 5000, 5000);
    wasAnswered(patience, 5600);
    expect(gaveUp(patience, 5000, now + 10_000)).toBeUndefined();
    expect(patienceAt(patience, now + 10_000)).toBeUndefined();
  });

  test('counts disconnects at one moment once, because a process may have ended', () => {
    const patience = makePatience();
    for (let at = 0; at < 1000; at += 25) gaveUp(patience, 12_000, at);
    expect(patienceAt(patience, 1000)).toBeUndefined();
    expect(patience.ages).toEqual([12_000]);
  });

  test('is learned from a stream of calls that each end at the same age', () => {
    const patience = makePatience();
    for (let at = 0; at <= 5000; at += 100) gaveUp(patience, 5000, at);
    expect(patienceAt(patience, 5000)).toBe(5000);
  });

  test('begins anew when calls of different ages end at one moment', () => {
    const { patience, now } = after(5000, 5000, 5000, 5000);
    gaveUp(patience, 2000, now + 10);
    expect(patience.ages).toEqual([]);
  });

  test.each([
    ['an answer to a call that waited longer', (p: Patience) => wasAnswered(p, 5500)],
    ['a call that waited longer, and left then', (p: Patience) => gaveUp(p, 9000, 60_000)],
  ])('is forgotten by %s', (_name, contradict) => {
    const { patience, now } = after(5000, 5000, 5000, 5000, 5000);
    expect(contradict(patience)).toBe('forgotten');
    expect(patienceAt(patience, now)).toBeUndefined();
  });

  test('becomes shorter when the client gives up earlier, again and again', () => {
    const { patience } = after(30_000, 30_000, 30_000, 30_000, 30_000, 5000, 5000, 5000, 5000);
    expect(patienceAt(patience, 90_000)).toBe(30_000);
    expect(gaveUp(patience, 5000, 100_000)).toBe('learned');
    expect(patienceAt(patience, 100_000)).toBe(5000);
  });

  test('is tested by one call a minute after an hour, until one confirms it', () => {
    const { patience, now } = after(5000, 5000, 5000, 5000, 5000);
    const test = now + HOUR;
    expect(patienceAt(patience, test - 1)).toBe(5000);
    expect(patienceAt(patience, test)).toBeUndefined();
    expect(patienceAt(patience, test + 1)).toBe(5000);
    expect(patienceAt(patience, test + 60_000)).toBeUndefined();
    gaveUp(patience, 5010, test + 65_010);
    expect(patienceAt(patience, test + 180_000)).toBe(5000);
  });

  test.each([
    [1000, 500],
    [5000, 4000],
    [10_000, 8500],
    [30_000, 25_500],
    [50_000, 42_500],
  ])('of %d ms allows a wait of %d ms', (patienceMs, waitMs) => {
    expect(longestWaitMs(patienceMs)).toBe(waitMs);
  });
});

type Event =
  | { readonly kind: 'gaveUp' | 'answered'; readonly ageMs: number; readonly sinceMs: number }
  | { readonly kind: 'arrived'; readonly sinceMs: number };

const sinceMs = fc.integer({ min: 0, max: 20_000 });
const ageMs = fc.oneof(
  fc.integer({ min: 1, max: 120_000 }),
  fc.integer({ min: 4800, max: 5200 }),
  fc.integer({ min: 29_000, max: 31_000 }),
);
const event: fc.Arbitrary<Event> = fc.oneof(
  fc.record({ kind: fc.constantFrom('gaveUp' as const), ageMs, sinceMs }),
  fc.record({ kind: fc.constantFrom('gaveUp' as const), ageMs, sinceMs }),
  fc.record({ kind: fc.constantFrom('answered' as const), ageMs, sinceMs }),
  fc.record({ kind: fc.constantFrom('arrived' as const), sinceMs }),
);

/** Applies events, and calls `check` after each with those so far. */
function replay(
  events: readonly Event[],
  check: (patience: Patience, now: number, past: readonly Event[]) => void,
): void {
  const patience = makePatience();
  let now = 0;
  for (const [at, one] of events.entries()) {
    now += one.sinceMs;
    if (one.kind === 'gaveUp') gaveUp(patience, one.ageMs, now);
    if (one.kind === 'answered') wasAnswered(patience, one.ageMs);
    if (one.kind === 'arrived') patienceAt(patience, now);
    check(patience, now, events.slice(0, at + 1));
  }
}

describe('whatever happens', () => {
  test('a known patience is the age of a disconnect, and five before agree with it', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 80 }), (events) => {
        replay(events, ({ knownMs }, _now, past) => {
          if (knownMs === undefined) return;
          const ages = past.flatMap((one) => (one.kind === 'gaveUp' ? [one.ageMs] : []));
          expect(ages).toContain(knownMs);
          const near = ages.filter(
            (age) => age >= knownMs && age <= knownMs + Math.max(1000, knownMs / 10),
          );
          expect(near.length).toBeGreaterThanOrEqual(5);
        });
      }),
    );
  });

  test('no patience is known after an answer to a call that was a tenth older', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 80 }), (events) => {
        replay(events, ({ knownMs }, _now, past) => {
          const last = past.at(-1);
          if (last?.kind !== 'answered' || knownMs === undefined) return;
          expect(last.ageMs).toBeLessThan(1.1 * knownMs);
        });
      }),
    );
  });

  test('disconnects within one second teach nothing', () => {
    const ages = fc.array(ageMs, { maxLength: 200 });
    fc.assert(
      fc.property(ages, (all) => {
        const patience = makePatience();
        for (const [at, age] of all.entries()) gaveUp(patience, age, (at * 1000) / 200);
        expect(patience.knownMs).toBeUndefined();
      }),
    );
  });

  test('few ages are kept, and the wait is positive and shorter than the patience', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 80 }), (events) => {
        replay(events, ({ ages, knownMs }) => {
          expect(ages.length).toBeLessThan(5);
          if (knownMs === undefined) return;
          expect(longestWaitMs(knownMs)).toBeGreaterThan(0);
          expect(longestWaitMs(knownMs)).toBeLessThan(knownMs);
        });
      }),
    );
  });
});

interface Tally {
  answered: number;
  shed: number;
  /** Calls that ended by the client's timeout, by the time of their arrival. */
  readonly timedOutAt: number[];
}

/**
 * Calls of one client through a gateway, for `hours`: each needs a wait of up to two minutes, and both
 * ways of the network take up to `jitterMs`. `giveUpMs` draws after how long the client disconnects.
 */
function simulate(
  giveUpMs: () => number,
  { seed = 1, jitterMs = 200, hours = 3, answers = true } = {},
): { patience: Patience; tally: Tally; startedAt: number } {
  const clock = new FakeClock();
  const random = seededRandom(seed);
  const patience = makePatience();
  const tally: Tally = { answered: 0, shed: 0, timedOutAt: [] };
  const startedAt = clock.now();
  const endAt = startedAt + hours * HOUR;
  const call = (): void => {
    const arrivedAt = clock.now();
    const outwardMs = random() * jitterMs;
    const known = patienceAt(patience, arrivedAt);
    const mayWaitMs = known === undefined ? Infinity : longestWaitMs(known);
    const waitMs = answers ? random() * 120_000 : Infinity;
    const goneAtMs = giveUpMs() - outwardMs + random() * jitterMs;
    if (waitMs > mayWaitMs) tally.shed++;
    else if (waitMs + random() * jitterMs < goneAtMs) {
      clock.after(waitMs, () => {
        tally.answered++;
        wasAnswered(patience, waitMs);
      });
    } else {
      clock.after(goneAtMs, () => {
        tally.timedOutAt.push(arrivedAt);
        gaveUp(patience, goneAtMs, clock.now());
      });
    }
    if (clock.now() < endAt) clock.after(random() * 4000, call);
  };
  call();
  clock.advance(hours * HOUR + 300_000);
  return { patience, tally, startedAt };
}

describe('simulated clients', () => {
  test.each([5000, 10_000, 25_000, 30_000, 50_000])(
    'with a timeout of %d ms are known within minutes, and then time out at most once an hour',
    (timeoutMs) => {
      for (const seed of [1, 2, 3]) {
        const { patience, tally, startedAt } = simulate(() => timeoutMs, { seed });
        expect(Math.abs((patience.knownMs ?? 0) - timeoutMs)).toBeLessThanOrEqual(200);
        const late = tally.timedOutAt.filter((at) => at > startedAt + 4 * timeoutMs + 60_000);
        expect(late.length).toBeLessThanOrEqual(3);
        expect(tally.shed).toBeGreaterThan(tally.timedOutAt.length);
        expect(tally.answered).toBeGreaterThan(0);
      }
    },
  );

  test('without a timeout, which people end after any time, are never known', () => {
    for (const seed of [1, 2, 3, 4, 5]) {
      const random = seededRandom(seed + 100);
      const people = (): number => 1000 - 30_000 * Math.log(1 - random());
      const { patience, tally } = simulate(people, { seed, hours: 24 });
      expect(patience.knownMs).toBeUndefined();
      expect(tally.shed).toBe(0);
      expect(tally.timedOutAt.length).toBeGreaterThan(1000);
    }
  });

  test('whose timeout was raised are no longer limited after the next test', () => {
    let timeoutMs = 10_000;
    const earlier = simulate(() => timeoutMs, { hours: 1 });
    expect(earlier.patience.knownMs).toBeDefined();
    timeoutMs = 300_000;
    const { patience } = earlier;
    const testAt = earlier.startedAt + 3 * HOUR;
    expect(patienceAt(patience, testAt)).toBeUndefined();
    wasAnswered(patience, 60_000);
    expect(patienceAt(patience, testAt + 1)).toBeUndefined();
  });
});
