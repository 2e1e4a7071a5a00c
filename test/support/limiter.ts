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
  /** The verdict on such a call, which is not made. */
  look(nowMs: number, cost?: number): Verdict;
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

/** How one way of counting judges a call: the verdict, and what is to be kept if the call is made. */
interface Judged {
  readonly verdict: Verdict;
  readonly keep: () => void;
}

type Judge = (limit: number, nowMs: number, cost: number) => Judged;

export function makeLimiter(semantics: Semantics, { limit, periodMs }: LimiterOptions): Limiter {
  const judge = judgeOf(semantics, periodMs);
  let most = limit;
  return {
    take(nowMs, cost = 1) {
      const { verdict, keep } = judge(most, nowMs, cost);
      keep();
      return verdict;
    },
    look: (nowMs, cost = 1) => judge(most, nowMs, cost).verdict,
    setLimit(next) {
      most = next;
    },
  };
}

function judgeOf(semantics: Semantics, periodMs: number): Judge {
  switch (semantics) {
    case 'fixed':
      return makeWindow((now) => now + periodMs);
    case 'aligned':
      return makeWindow((now) => (Math.floor(now / periodMs) + 1) * periodMs);
    case 'remaining-before':
      return makeRemainingBefore(periodMs);
    case 'sliding':
      return makeLog(periodMs, (now) => now + periodMs);
    case 'oldest-plus-period':
      return makeLog(periodMs, (now, oldest) => (oldest ?? now) + periodMs);
    case 'leaky':
      return makeLeaky(periodMs, (level, perMs) => level / perMs);
    case 'next-token':
      return makeLeaky(periodMs, (level, perMs) => (level - Math.floor(level) || 1) / perMs);
    case 'window-counter':
      return makeWindowCounter(periodMs);
    default:
      return semantics satisfies never;
  }
}

/** A window that opens with a call, and ends at `endOf` its start. */
function makeWindow(endOf: (nowMs: number) => number): Judge {
  let count = 0;
  let endMs = Number.NEGATIVE_INFINITY;
  return (limit, now, cost) => {
    const isOver = now >= endMs;
    const end = isOver ? endOf(now) : endMs;
    const before = isOver ? 0 : count;
    const allowed = before + cost <= limit;
    const after = allowed ? before + cost : before;
    const remaining = Math.max(0, limit - after);
    return {
      verdict: { allowed, limit, remaining, resetAtMs: end, retryAtMs: end },
      keep() {
        count = after;
        endMs = end;
      },
    };
  };
}

/** Reports the count that remained before the call. */
function makeRemainingBefore(periodMs: number): Judge {
  const window = makeWindow((now) => now + periodMs);
  return (limit, now, cost) => {
    const { verdict, keep } = window(limit, now, cost);
    const remaining = verdict.remaining + (verdict.allowed ? cost : 0);
    return { verdict: { ...verdict, remaining }, keep };
  };
}

/** A sliding log: the slot of each call returns one period after the call. */
function makeLog(
  periodMs: number,
  resetOf: (nowMs: number, oldestMs: number | undefined) => number,
): Judge {
  let calls: number[] = [];
  let head = 0;
  return (limit, now, cost) => {
    while (head < calls.length && (calls[head] ?? 0) <= now - periodMs) head++;
    if (head > 4096) {
      calls = calls.slice(head);
      head = 0;
    }
    const before = calls.length - head;
    const allowed = before + cost <= limit;
    const after = allowed ? before + cost : before;
    const oldest = calls[head] ?? (after > before ? now : undefined);
    // So many of the oldest calls have to return before a refused one is accepted.
    const last = calls[head + Math.max(1, before + cost - limit) - 1] ?? oldest;
    return {
      verdict: {
        allowed,
        limit,
        remaining: Math.max(0, limit - after),
        resetAtMs: resetOf(now, oldest),
        retryAtMs: (last ?? now) + periodMs,
      },
      keep() {
        for (let i = before; i < after; i++) calls.push(now);
      },
    };
  };
}

/** A bucket that leaks evenly. `resetIn` is the reported delay, from level and leak. */
function makeLeaky(periodMs: number, resetIn: (level: number, leakPerMs: number) => number): Judge {
  let level = 0;
  let last = 0;
  return (limit, now, cost) => {
    const leakPerMs = limit / periodMs;
    const before = Math.max(0, level - Math.max(0, now - last) * leakPerMs);
    const allowed = before + cost <= limit + ROUNDING;
    const after = allowed ? before + cost : before;
    return {
      verdict: {
        allowed,
        limit,
        remaining: Math.max(0, Math.floor(limit - after + ROUNDING)),
        resetAtMs: now + resetIn(after, leakPerMs),
        retryAtMs: now + Math.max(0, after + cost - limit) / leakPerMs,
      },
      keep() {
        level = after;
        last = Math.max(last, now);
      },
    };
  };
}

/** Levels are sums of fractions, and differences below this are rounding. */
const ROUNDING = 1e-9;

/** Two aligned windows, the last one weighed by how much of it still overlaps. */
function makeWindowCounter(periodMs: number): Judge {
  let window = 0;
  let current = 0;
  let previous = 0;
  return (limit, now, cost) => {
    const index = Math.floor(now / periodMs);
    const isNew = index !== window;
    const last = isNew ? (index === window + 1 ? current : 0) : previous;
    const before = isNew ? 0 : current;
    const weighed = last * (1 - (now - index * periodMs) / periodMs);
    const allowed = weighed + before + cost <= limit;
    const after = allowed ? before + cost : before;
    const endMs = (index + 1) * periodMs;
    return {
      verdict: {
        allowed,
        limit,
        remaining: Math.max(0, Math.floor(limit - weighed - after)),
        resetAtMs: endMs,
        retryAtMs: endMs,
      },
      keep() {
        window = index;
        current = after;
        previous = last;
      },
    };
  };
}
