import { describe, expect, test } from 'vitest';
import type { Observation } from '../../src/budget/observation.ts';
import { LocalBudget, type LocalLease } from '../../src/ledger/local/local-budget.ts';
import { seededRandom } from '../support/seeded-random.ts';

const NO_OFFSET = { low: 0, high: 0 };
const LIMIT = 20;
const PERIOD_MS = 4000;
const WINDOWS = 20;

type Reported = Partial<Observation>;

/** What the API's answers report, of a window that ends at `resetAt`. */
interface Dialect {
  readonly accepted: (resetAt: number) => Reported;
  readonly refused: (resetAt: number) => Reported;
}

interface Sent {
  readonly lease: LocalLease;
  readonly at: number;
  readonly observation: Observation;
}

/** Callers that always have another request, in front of a window that the first request opens. */
function run({ accepted, refused }: Dialect): {
  readonly taken: number;
  readonly refusals: number;
} {
  const random = seededRandom(7);
  const bucket = new LocalBudget(0);
  let sent: Sent[] = [];
  let [resetAt, used, taken, refusals] = [0, 0, 0, 0];
  for (let now = 0; now < WINDOWS * PERIOD_MS; now += 10) {
    bucket.advance(now, NO_OFFSET);
    for (const { lease, at, observation } of sent) {
      if (at <= now) bucket.answered(lease, { ...observation, receivedAt: now }, now, random);
    }
    sent = sent.filter(({ at }) => at > now);
    while (sent.length < 15 && bucket.offer(now) !== undefined) {
      if (now >= resetAt) [resetAt, used] = [now + PERIOD_MS, 0];
      used++;
      const isTaken = used <= LIMIT;
      if (isTaken) taken++;
      else refusals++;
      const observation: Observation = {
        status: isTaken ? 200 : 429,
        basis: 'instant',
        sameWithinMs: 0,
        uncertaintyMs: 0,
        receivedAt: now,
        ...(isTaken ? accepted(resetAt) : refused(resetAt)),
      };
      sent.push({ lease: bucket.grant(now), at: now + 20, observation });
    }
  }
  return { taken, refusals };
}

describe('an API whose accepted answers do not report what remains', () => {
  test.each<[string, Dialect]>([
    ['but the limit', { accepted: () => ({ limit: LIMIT }), refused: () => ({ limit: LIMIT }) }],
    [
      'but the limit, and refusals a time to wait',
      { accepted: () => ({ limit: LIMIT }), refused: (at) => ({ limit: LIMIT, retryAt: at }) },
    ],
    [
      'but the limit and the reset',
      {
        accepted: (at) => ({ limit: LIMIT, resetAt: at }),
        refused: (at) => ({ limit: LIMIT, resetAt: at }),
      },
    ],
    [
      'while refusals report all',
      { accepted: () => ({}), refused: (at) => ({ limit: LIMIT, remaining: 0, resetAt: at }) },
    ],
  ])('%s is used as one that reports nothing, at least', (_name, dialect) => {
    const { taken, refusals } = run(dialect);
    expect(taken).toBeGreaterThanOrEqual(0.6 * LIMIT * WINDOWS);
    expect(refusals).toBeLessThanOrEqual(5 * WINDOWS);
  });

  test('is refused nothing more once the limit and the reset are known', () => {
    const inAll = { accepted: (at: number) => ({ limit: LIMIT, resetAt: at }) };
    const { refusals } = run({ ...inAll, refused: inAll.accepted });
    expect(refusals).toBeLessThanOrEqual(15);
  });
});
