import { LocalBudget, type LocalLease } from '../../src/ledger/local/local-budget.ts';
import { ApiClock } from '../../src/rate-headers/api-clock.ts';
import type { Timer } from '../../src/util/clock.ts';
import { toObservation } from '../../src/rate-headers/answer.ts';
import { makeRateHeaderReader, mostBinding } from '../../src/rate-headers/rate-headers.ts';
import { renderHeaders, type Dialect } from './dialect.ts';
import { FakeClock } from './fake-clock.ts';
import { makeLimiter, type Limiter, type Semantics, type Verdict } from './limiter.ts';
import { seededRandom } from './seeded-random.ts';
import { utilisationOf } from './utilisation.ts';

export interface SimulationOptions {
  readonly semantics: Semantics;
  readonly dialect?: Dialect;
  readonly limit?: number;
  readonly periodMs?: number;
  readonly windows?: number;
  readonly skewMs?: number;
  /** Operations per window that another consumer of the same credential spends. */
  readonly otherPerWindow?: number;
  readonly maxInFlight?: number;
  /** The shortest and the longest time that a call takes to the API, and as long again its answer. */
  readonly oneWayMs?: readonly [least: number, most: number];
  /** How much earlier or later than the truth the API reports a reset, at most. */
  readonly jitterMs?: number;
  readonly seed?: number;
  /** Whether the API's answers have a `Date`. Without it, both clocks are assumed to be equal. */
  readonly hasDate?: boolean;
  /** Changes the limiter at a time, given in windows from the start. */
  readonly change?: { readonly atWindow: number; readonly run: (limiter: Limiter) => void };
  /** Changes how a hostile API answers one call. */
  readonly interfere?: (call: Call) => Interference | undefined;
}

export interface Call {
  /** From 0, in the order in which calls were sent. */
  readonly number: number;
  readonly windowsPassed: number;
  readonly limiter: Limiter;
  readonly apiNow: number;
  readonly random: () => number;
}

export interface Interference {
  readonly status?: number;
  readonly headers?: Record<string, string>;
  /** Whether the call is answered without being counted. */
  readonly uncounted?: boolean;
  readonly latencyMs?: number;
  /** Changes the limiter's verdict before it is written into headers. */
  readonly report?: (verdict: Verdict) => Verdict;
}

export interface SimulationResult {
  readonly sent: number;
  readonly throttled: number;
  readonly throttledShare: number;
  /** The rate at which the API served all consumers, divided by the rate that its limit allows. */
  readonly utilisation: number;
  /** How many of our calls were served in each window, which shows a bucket that stopped. */
  readonly servedByWindow: readonly number[];
  /**
   * For each window that ended with nothing left: how long after its reset the next call arrived that
   * the API served.
   */
  readonly lateMs: readonly number[];
  /** How many of our calls were refused in each window. */
  readonly throttledByWindow: readonly number[];
}

/**
 * Simulates a saturated bucket in front of an API, event by event, on a fake clock. Answers arrive out
 * of order.
 */
export function simulate(options: SimulationOptions): SimulationResult {
  const { semantics, dialect = {}, limit = 200, periodMs = 60_000, windows = 50 } = options;
  const { skewMs = 0, otherPerWindow = 0, maxInFlight = 64, seed = 1, interfere } = options;
  const { hasDate = true, change, oneWayMs = [20, 60], jitterMs = 0 } = options;
  const clock = new FakeClock({ epochMs: Date.UTC(2026, 0, 1) + 12_345.678 });
  const random = seededRandom(seed);
  const limiter = makeLimiter(semantics, { limit, periodMs });
  const apiClock = new ApiClock();
  const readRateLimits = makeRateHeaderReader();
  const start = clock.now();
  const end = start + windows * periodMs;
  const bucket = new LocalBudget(start);
  const servedByWindow = Array.from({ length: windows }, () => 0);
  const throttledByWindow = Array.from({ length: windows }, () => 0);
  const lateMs: number[] = [];
  /** The reset of the window in which nothing is left. */
  let usedUpUntil: number | undefined;
  const oneWay = (): number => oneWayMs[0] + (oneWayMs[1] - oneWayMs[0]) * random();
  const jitter = (): number => (jitterMs === 0 ? 0 : (2 * random() - 1) * jitterMs);
  const apiNow = (): number => clock.wallMs() + skewMs;
  let [inFlight, sent, served, throttled] = [0, 0, 0, 0];
  /** The times at which half of each further budget had been served. */
  const halfAt: number[] = [];
  let alarm: Timer | undefined;

  const countServed = (): void => {
    if (++served % limit === limit / 2) halfAt.push(clock.now());
  };

  const countIn = (byWindow: number[]): void => {
    const window = Math.floor((clock.now() - start) / periodMs);
    byWindow[window] = (byWindow[window] ?? 0) + 1;
  };

  const countOurs = (verdict: Verdict): void => {
    if (!verdict.allowed) return countIn(throttledByWindow);
    countServed();
    countIn(servedByWindow);
    if (usedUpUntil !== undefined) lateMs.push(apiNow() - usedUpUntil);
    usedUpUntil = verdict.remaining === 0 ? verdict.resetAtMs : undefined;
  };

  const atTheApi = (lease: LocalLease, sentAt: number, number: number): void => {
    const windowsPassed = (clock.now() - start) / periodMs;
    const interference =
      interfere?.({ number, windowsPassed, limiter, apiNow: apiNow(), random }) ?? {};
    const verdict = interference.uncounted === true ? undefined : limiter.take(apiNow());
    if (verdict !== undefined) countOurs(verdict);
    const status = interference.status ?? (verdict?.allowed === false ? 429 : 200);
    const dateMs = Math.floor(apiNow() / 1000) * 1000;
    const noisy = verdict && { ...verdict, resetAtMs: verdict.resetAtMs + jitter() };
    const reported = noisy && (interference.report?.(noisy) ?? noisy);
    const headers =
      interference.headers ?? (reported ? renderHeaders(reported, apiNow(), dialect) : {});
    clock.after(interference.latencyMs ?? oneWay(), () => {
      const receivedAt = clock.now();
      if (hasDate) apiClock.observe({ dateMs, sentAt, receivedAt });
      bucket.advance(receivedAt, offset());
      const reading = mostBinding(readRateLimits(headers));
      const answer = { status, reading, sentAt, receivedAt };
      bucket.answered(lease, toObservation(answer, offset()), receivedAt, random);
      inFlight--;
      if (status === 429) throttled++;
      pump();
    });
  };

  const offset = (): { low: number; high: number } => apiClock.bounds(clock.now(), clock.wallMs());

  const pump = (): void => {
    const now = clock.now();
    bucket.advance(now, offset());
    while (inFlight < maxInFlight && bucket.offer(now) !== undefined) {
      const lease = bucket.grant(now);
      const number = sent++;
      inFlight++;
      clock.after(oneWay(), () => atTheApi(lease, now, number));
    }
    alarm?.cancel();
    if (inFlight < maxInFlight) alarm = clock.after(bucket.nextWakeAt(now) - now, pump);
  };

  if (otherPerWindow > 0) {
    const other = (): void => {
      if (limiter.take(apiNow()).allowed) countServed();
      clock.after((2 * random() * periodMs) / otherPerWindow, other);
    };
    clock.after(random() * 1000, other);
  }
  if (change !== undefined) {
    clock.after(change.atWindow * periodMs, () => change.run(limiter));
  }
  pump();
  clock.advance(end - start);
  return {
    sent,
    throttled,
    throttledShare: throttled / Math.max(1, sent),
    utilisation: utilisationOf(halfAt, periodMs, end),
    servedByWindow,
    lateMs,
    throttledByWindow,
  };
}
