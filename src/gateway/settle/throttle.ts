import type { ApiClock } from '../../rate-headers/api-clock.ts';
import { mostBinding, type RateHeaders } from '../../rate-headers/rate-headers.ts';
import type { Reset } from '../../rate-headers/reset-value.ts';
import type { Clock, Random } from '../../util/clock.ts';
import { retryDelay } from './retry-delay.ts';

/** The API refused a request because of a limit. Times are on {@link Clock.now}. */
export interface Throttle {
  /** Until when the API says that the request should wait; `undefined` if it states no time. */
  readonly retryAt: number | undefined;
  /** Until when the request waits if it waits alone. */
  readonly until: number;
  /** Whether the API stated that time. */
  readonly isStated: boolean;
}

/**
 * Reads whether an answer throttles; `attempt` counts from 1. With another status than 429 it must say
 * until when, or that nothing remains until a reset. Any other is the API's own matter, such as a
 * missing permission (403).
 */
export type ReadThrottle = (
  status: number,
  rateHeaders: RateHeaders,
  receivedAt: number,
  attempt: number,
) => Throttle | undefined;

export interface ThrottleDependencies {
  readonly apiClock: Pick<ApiClock, 'bounds'>;
  readonly clock: Clock;
  readonly random: Random;
  /** The statuses besides 429 with which the API may throttle. */
  readonly throttleStatuses: readonly number[];
}

/** How long a request waits at least whose refusal states no time. */
const MIN_WAIT_MS = 1000;

export function makeReadThrottle(dependencies: ThrottleDependencies): ReadThrottle {
  const { apiClock, clock, random, throttleStatuses } = dependencies;

  function throttles(status: number, rateHeaders: RateHeaders, receivedAt: number): boolean {
    if (status === 429) return true;
    if (!throttleStatuses.includes(status)) return false;
    const { remaining, reset, retryAfter } = mostBinding(rateHeaders);
    if (retryAfter !== undefined) return true;
    return remaining === 0 && (timeOf(reset, receivedAt) ?? 0) > receivedAt;
  }

  function timeOf(time: Reset | undefined, receivedAt: number): number | undefined {
    if (time === undefined) return undefined;
    if (time.kind === 'delay') return receivedAt + time.afterMs;
    return time.atMs - apiClock.bounds(receivedAt, clock.wallMs()).low;
  }

  return (status, rateHeaders, receivedAt, attempt) => {
    if (!throttles(status, rateHeaders, receivedAt)) return undefined;
    const retryAt = timeOf(rateHeaders.retryAfter, receivedAt);
    const until = retryAt ?? receivedAt + MIN_WAIT_MS + retryDelay(attempt, random);
    return { retryAt, until, isStated: retryAt !== undefined };
  };
}
