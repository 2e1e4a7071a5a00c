import { describe, expect, test } from 'vitest';
import { ask, askMany, type Answer } from '../support/ask.ts';
import type { AzionOptions } from '../support/azion.ts';
import type { Dialect, Family, ResetFormat, RetryAfterFormat } from '../support/dialect.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { bucketsOf, setUp, until, type Setup } from '../support/setup.ts';

const HOUR_MS = 3_600_000;
const PERIOD_MS = 60_000;
const LIMIT = 4;
const HEADERS = { authorization: 'token shared' };

const FAMILIES: readonly Family[] = ['x-ratelimit', 'x-rate-limit', 'ratelimit', 'structured'];
const RESETS: readonly ResetFormat[] = [
  'iso-micros',
  'iso-zone',
  'iso-seconds',
  'iso-space',
  'epoch-ceil',
  'epoch-floor',
  'epoch-float',
  'epoch-ms',
  'delta-ceil',
  'delta-floor',
  'delta-float',
  'duration',
  'http-date',
];

interface Spent extends Setup {
  readonly clock: FakeClock;
}

/** Starts a gateway, and spends the whole budget of an API with this dialect. */
async function spendAll(dialect: Dialect, api: AzionOptions = {}): Promise<Spent> {
  const clock = new FakeClock();
  const limits = { read: { limit: LIMIT, periodMs: PERIOD_MS } };
  const setup = await setUp({ semantics: 'fixed', limits, dialect, ...api }, { clock });
  const answers = await askMany(LIMIT, () => get(setup));
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
  return { ...setup, clock };
}

function get({ gateway }: Setup): Promise<Answer> {
  return ask(`${gateway.url}/domains`, { headers: HEADERS });
}

/**
 * Checks that the bucket knows that the budget is spent, and when it refills, as exactly as the
 * dialect allows: another call waits until the window is over, and is served.
 */
async function knowsTheReset(spent: Spent, doubtMs: number): Promise<true> {
  const { azion, gateway, clock } = spent;
  const waiting = get(spent);
  await until('it waits', async () => (await bucketsOf(gateway))[0]?.waiting === 1);
  const [bucket] = await bucketsOf(gateway);
  expect(bucket).toMatchObject({ limit: LIMIT, remaining: 0, leases: 0 });
  expect(bucket?.resetInMs).toBeGreaterThan(PERIOD_MS - 5000);
  expect(bucket?.resetInMs).toBeLessThanOrEqual(PERIOD_MS + doubtMs);
  clock.advance(PERIOD_MS + doubtMs);
  expect((await waiting).status).toBe(200);
  expect(azion.throttled).toBe(0);
  return true;
}

/** The API's clock is known to a second; a reset in whole seconds adds one or two. */
const DOUBT_MS = 3000;

describe.each(FAMILIES)('%s headers', (family) => {
  test.each(family === 'structured' ? (['delta-ceil'] as const) : RESETS)(
    'with the reset as %s',
    async (reset) => {
      expect(await knowsTheReset(await spendAll({ family, reset }), DOUBT_MS)).toBe(true);
    },
  );
});

describe('an API whose clock is an hour off', () => {
  test.each<[number, ResetFormat]>([
    [-HOUR_MS, 'iso-micros'],
    [HOUR_MS, 'iso-micros'],
    [-HOUR_MS, 'epoch-ceil'],
    [HOUR_MS, 'epoch-floor'],
  ])('(%d ms) and is in its Date header', async (skewMs, reset) => {
    expect(await knowsTheReset(await spendAll({ reset }, { skewMs }), DOUBT_MS)).toBe(true);
  });
});

test('the clock of an API without a Date header is assumed to be within a second of ours', async () => {
  expect(await knowsTheReset(await spendAll({}, { dateHeader: false }), DOUBT_MS)).toBe(true);
});

describe('a 429 that states when to retry', () => {
  test.each<RetryAfterFormat>(['none', 'delta-ceil', 'delta-float', 'http-date'])(
    '(Retry-After: %s) is followed',
    async (retryAfter) => {
      const clock = new FakeClock();
      const limits = { read: { limit: LIMIT, periodMs: PERIOD_MS } };
      const setup = await setUp({ semantics: 'fixed', limits, dialect: { retryAfter } }, { clock });
      await get(setup);
      setup.azion.consume(HEADERS.authorization, 'read', LIMIT - 1);
      const waiting = get(setup);
      await until('it is throttled and waits', async () => {
        const [bucket] = await bucketsOf(setup.gateway);
        return setup.azion.throttled === 1 && bucket?.waiting === 1;
      });
      const [bucket] = await bucketsOf(setup.gateway);
      expect(bucket?.blockedForMs).toBeGreaterThan(PERIOD_MS - 5000);
      expect(bucket?.blockedForMs).toBeLessThanOrEqual(PERIOD_MS + DOUBT_MS);
      clock.advance(PERIOD_MS + DOUBT_MS);
      expect((await waiting).status).toBe(200);
      expect(setup.azion.throttled).toBe(1);
    },
  );
});
