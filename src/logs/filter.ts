import type { LoggedCall, Outcome, LoggedThrottle } from './log-line.ts';
import { makePattern } from './pattern.ts';

/** What lines to keep: all that is given must hold, and of each list one. Empty: no matter. */
export interface FilterOptions {
  /** May hold `*` for any characters, as may paths and buckets. */
  readonly callers: readonly string[];
  readonly paths: readonly string[];
  readonly buckets: readonly string[];
  /** `429`, or a class such as `5xx`. */
  readonly statuses: readonly string[];
  readonly outcomes: readonly Outcome[];
  readonly ids: readonly string[];
  /** Only calls that waited at least this long. */
  readonly minWaitMs: number | undefined;
  /** Only lines written then or later, in milliseconds since 1970. */
  readonly sinceMs: number | undefined;
}

export type Filter = (line: LoggedCall | LoggedThrottle) => boolean;

/**
 * Makes the filter. The warning about a 429 has no path, status, outcome or wait of its own, so a
 * filter that asks for one of these keeps call lines only.
 */
export function makeFilter(options: FilterOptions): Filter {
  const { statuses, outcomes, ids, minWaitMs, sinceMs } = options;
  const caller = anyOf(options.callers);
  const path = anyOf(options.paths);
  const bucket = anyOf(options.buckets);
  const callsOnly =
    path !== undefined || statuses.length > 0 || outcomes.length > 0 || minWaitMs !== undefined;

  return (line) => {
    if (sinceMs !== undefined && line.atMs < sinceMs) return false;
    if (ids.length > 0 && !ids.includes(line.id)) return false;
    if (caller !== undefined && !caller(line.caller)) return false;
    if (bucket !== undefined && !bucket(line.bucket)) return false;
    if (!callsOnly) return true;
    if (line.kind === 'throttled') return false;
    if (minWaitMs !== undefined && line.waitMs < minWaitMs) return false;
    if (outcomes.length > 0 && !outcomes.includes(line.outcome)) return false;
    if (statuses.length > 0 && !statuses.some((wanted) => isStatus(line.status, wanted))) {
      return false;
    }
    return path === undefined || path(line.path);
  };
}

function anyOf(patterns: readonly string[]): ((text: string) => boolean) | undefined {
  if (patterns.length === 0) return undefined;
  const fits = patterns.map(makePattern);
  return (text) => fits.some((one) => one(text));
}

function isStatus(status: number, wanted: string): boolean {
  return wanted.endsWith('xx')
    ? Math.floor(status / 100) === Number(wanted[0])
    : status === Number(wanted);
}
