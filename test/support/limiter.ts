/** The decision of an API's limiter on one call. */
export interface Verdict {
  readonly allowed: boolean;
  readonly limit: number;
  readonly remaining: number;
  /** Milliseconds since 1970 on the API's own clock. */
  readonly resetAtMs: number;
  /** The time from which a refused call would be accepted, on the API's own clock. */
  readonly retryAtMs: number;
}

/** One budget of the API. All times are on the API's own clock; refused calls do not count. */
export interface Limiter {
  /** A call that costs `cost` operations, 1 unless given. */
  take(nowMs: number, cost?: number): Verdict;
  setLimit(limit: number): void;
}

/** How APIs count. The last four report a reset at which no slot returns. */
export type Semantics =
  | 'fixed'
  | 'aligned'
  | 'sliding'
  | 'leaky'
  | 'window-counter'
  | 'oldest-plus-period'
  | 'next-token'
  | 'remaining-before';

export interface LimiterOptions {
  readonly limit: number;
  readonly periodMs: number;
}

export function makeLimiter(semantics: Semantics, options: LimiterOptions): Limiter {
  switch (semantics) {
    case 'fixed':
      return makeWindow(options, (now, periodMs) => now + periodMs);
    case 'aligned':
      return makeWindow(options, (now, periodMs) => (Math.floor(now / periodMs) + 1) * periodMs);
    case 'remaining-before':
      return makeRemainingBefore(options);
    case 'sliding':
      return makeLog(options, (now, _oldest, periodMs) => now + periodMs);
    case 'oldest-plus-period':
      return makeLog(options, (now, oldest, periodMs) => (oldest ?? now) + periodMs);
    case 'leaky':
      return makeLeaky(options, (level, perMs) => level / perMs);
    case 'next-token':
      return makeLeaky(options, (level, perMs) => (level - Math.floor(level) || 1) / perMs);
    case 'window-counter':
      return makeWindowCounter(options);
    default:
      return semantics satisfies never;
  }
}

/** A window that opens with a call, and ends at `endOf` its start. */
function makeWindow(
  { limit, periodMs }: LimiterOptions,
  endOf: (nowMs: number, periodMs: number) => number,
): Limiter {
  let most = limit;
  let count = 0;
  let endMs = Number.NEGATIVE_INFINITY;
  return {
    take(now, cost = 1) {
      if (now >= endMs) {
        count = 0;
        endMs = endOf(now, periodMs);
      }
      const allowed = count + cost <= most;
      if (allowed) count += cost;
      const remaining = Math.max(0, most - count);
      return { allowed, limit: most, remaining, resetAtMs: endMs, retryAtMs: endMs };
    },
    setLimit(next) {
      most = next;
    },
  };
}

/** Reports the count that remained before the call. */
function makeRemainingBefore(options: LimiterOptions): Limiter {
  const window = makeWindow(options, (now, periodMs) => now + periodMs);
  return {
    take(now, cost = 1) {
      const verdict = window.take(now, cost);
      return { ...verdict, remaining: verdict.remaining + (verdict.allowed ? cost : 0) };
    },
    setLimit: (limit) => window.setLimit(limit),
  };
}

/** A sliding log: the slot of each call returns one period after the call. */
function makeLog(
  { limit, periodMs }: LimiterOptions,
  resetOf: (nowMs: number, oldestMs: number | undefined, periodMs: number) => number,
): Limiter {
  let most = limit;
  let calls: number[] = [];
  let head = 0;
  return {
    take(now, cost = 1) {
      while (head < calls.length && (calls[head] ?? 0) <= now - periodMs) head++;
      if (head > 4096) {
        calls = calls.slice(head);
        head = 0;
      }
      const allowed = calls.length - head + cost <= most;
      if (allowed) for (let i = 0; i < cost; i++) calls.push(now);
      const oldest = calls[head];
      return {
        allowed,
        limit: most,
        remaining: Math.max(0, most - (calls.length - head)),
        resetAtMs: resetOf(now, oldest, periodMs),
        retryAtMs: (oldest ?? now) + periodMs,
      };
    },
    setLimit(next) {
      most = next;
    },
  };
}

/** A bucket that leaks evenly. `resetIn` is the reported delay, from level and leak. */
function makeLeaky(
  { limit, periodMs }: LimiterOptions,
  resetIn: (level: number, leakPerMs: number) => number,
): Limiter {
  let most = limit;
  let level = 0;
  let last = 0;
  return {
    take(now, cost = 1) {
      const leakPerMs = most / periodMs;
      level = Math.max(0, level - Math.max(0, now - last) * leakPerMs);
      last = Math.max(last, now);
      const allowed = level + cost <= most + ROUNDING;
      if (allowed) level += cost;
      return {
        allowed,
        limit: most,
        remaining: Math.max(0, Math.floor(most - level + ROUNDING)),
        resetAtMs: now + resetIn(level, leakPerMs),
        retryAtMs: now + Math.max(0, level + cost - most) / leakPerMs,
      };
    },
    setLimit(next) {
      most = next;
    },
  };
}

/** Levels are sums of fractions, and differences below this are rounding. */
const ROUNDING = 1e-9;

/** Two aligned windows, the last one weighed by how much of it still overlaps. */
function makeWindowCounter({ limit, periodMs }: LimiterOptions): Limiter {
  let most = limit;
  let window = 0;
  let current = 0;
  let previous = 0;
  return {
    take(now) {
      const index = Math.floor(now / periodMs);
      if (index !== window) {
        previous = index === window + 1 ? current : 0;
        current = 0;
        window = index;
      }
      const overlap = 1 - (now - index * periodMs) / periodMs;
      const allowed = previous * overlap + current + 1 <= most;
      if (allowed) current++;
      const endMs = (index + 1) * periodMs;
      return {
        allowed,
        limit: most,
        remaining: Math.max(0, Math.floor(most - previous * overlap - current)),
        resetAtMs: endMs,
        retryAtMs: endMs,
      };
    },
    setLimit(next) {
      most = next;
    },
  };
}
