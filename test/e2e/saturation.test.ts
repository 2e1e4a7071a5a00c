import { describe, expect, test } from 'vitest';
import type { Answer } from '../support/ask.ts';
import { startAzion, type Azion, type SeenCall } from '../support/azion.ts';
import type { LogLine } from '../support/captured-log.ts';
import type { Semantics } from '../support/limiter.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { TimedCalls } from '../support/timed-calls.ts';
import { utilisationOf } from '../support/utilisation.ts';

const LIMIT = 60;
const PERIOD_MS = 5000;
const BUDGETS = 6;
const CALLERS = ['billing', 'console', 'dns-sync', 'purger', 'reports'];
const SEMANTICS: readonly Semantics[] = ['fixed', 'aligned', 'sliding', 'leaky'];
const TOKEN = 'token one-for-all';
const WARM_UPS = 80;

/** Callers send three calls in the time in which the API accepts one. */
const EVERY_MS = (PERIOD_MS * CALLERS.length) / (LIMIT * 3);

interface Result {
  readonly calls: TimedCalls<Azion>;
  readonly answers: readonly Answer[];
  /** The measured calls as the API received them. */
  readonly seen: readonly SeenCall[];
  readonly lines: readonly LogLine[];
}

/** Sends `BUDGETS` budgets of calls, and lets the clock run until all are answered. */
async function saturate(semantics: Semantics): Promise<Result> {
  const random = seededRandom(1);
  const calls = await TimedCalls.start((clock) =>
    startAzion({
      clock,
      semantics,
      limits: { read: { limit: LIMIT, periodMs: PERIOD_MS } },
      latencyMs: () => 2 + Math.floor(6 * random()),
    }),
  );
  // The API's Date header has whole seconds. Calls on another credential's budget, over a little
  // more than a second, teach the gateway the API's clock, as a minute of ordinary use would.
  for (let i = 0; i < WARM_UPS; i++) {
    calls.send('/domains', { headers: { authorization: 'token warm-up' } });
    await calls.pass(15);
  }
  for (let i = 0; i < (LIMIT * BUDGETS) / CALLERS.length; i++) {
    for (const caller of CALLERS) {
      const headers = { authorization: TOKEN, 'headgate-caller': caller };
      calls.send(`/domains?page=1&call=${i}`, { headers });
    }
    await calls.pass(EVERY_MS);
  }
  await calls.finish(2 * BUDGETS * PERIOD_MS);
  return {
    calls,
    answers: calls.answers,
    seen: calls.api.seen.filter(({ headers }) => headers.authorization === TOKEN),
    lines: await calls.gateway.log.wait('call', calls.answers.length),
  };
}

/** As the API sees it, from the middle of the third budget: by then calls always wait. */
function utilisationSeen(seen: readonly SeenCall[]): number {
  const counted = seen.filter((call) => call.counted);
  const halfAt: number[] = [];
  for (let i = LIMIT * 2.5; i < counted.length; i += LIMIT) halfAt.push(counted[i]?.atMs ?? 0);
  return utilisationOf(halfAt, PERIOD_MS);
}

/** Jain's fairness index: 1 when all have the same, 1/n when one has everything. */
function jain(shares: readonly number[]): number {
  const sum = shares.reduce((total, share) => total + share, 0);
  const squares = shares.reduce((total, share) => total + share * share, 0);
  return (sum * sum) / (shares.length * squares);
}

describe('five callers that send three times what the API accepts', () => {
  test.each(SEMANTICS)('before a %s limit: no 429, full use, fair shares', async (semantics) => {
    const { calls, answers, seen, lines } = await saturate(semantics);

    // Each caller gets the API's answer to each call.
    expect(answers).toHaveLength(LIMIT * BUDGETS + WARM_UPS);
    for (const { status, complete, text } of answers) {
      expect(status).toBe(200);
      expect(complete).toBe(true);
      expect(JSON.parse(text)).toMatchObject({ schema_version: 3 });
    }

    // The API refuses none, serves each once, and serves them as fast as it may.
    expect(calls.api.throttled).toBe(0);
    expect(seen).toHaveLength(LIMIT * BUDGETS);
    expect(utilisationSeen(seen)).toBeGreaterThanOrEqual(0.99);

    // Each call has one log line.
    const ids = new Set(lines.map(({ id }) => id));
    expect(lines).toHaveLength(answers.length);
    expect(ids.size).toBe(lines.length);
    const answered = answers.map(({ headers }) => headers['headgate-request-id']);
    expect(answered.filter((id) => !ids.has(id))).toEqual([]);
    expect(calls.gateway.log.forged).toEqual([]);

    // Lines are written in the order of serving. At half time, every caller still has calls waiting.
    const served = lines.filter(({ caller }) => CALLERS.includes(String(caller)));
    const firstHalf = served.slice(0, (LIMIT * BUDGETS) / 2);
    const shares = CALLERS.map((name) => firstHalf.filter(({ caller }) => caller === name).length);
    expect(jain(shares)).toBeGreaterThanOrEqual(0.98);
  });
});
