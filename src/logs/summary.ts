import { BoundedTallies } from './bounded-tallies.ts';
import { CallTally, CountTally, MinuteTally } from './call-tally.ts';
import { type DurationHistogram, QUANTILE_ERROR } from './duration-histogram.ts';
import type { LoggedCall, LoggedThrottle, Outcome } from './log-line.ts';
import { pathShape } from './path-shape.ts';

/** How many keys of a kind are told apart while reading; the least busy of more become `other`. */
const MOST_KEYS = 500;
/** A week of minutes. */
const MOST_MINUTES = 10_080;
const LONGEST_NAME = 200;

/** Durations, in milliseconds. Quantiles are within {@link Summary.quantileError} of the truth. */
export interface Durations {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly longest: number;
}

export interface GroupSummary {
  readonly name: string;
  readonly calls: number;
  readonly waited: number;
  readonly outcomes: Readonly<Record<Outcome, number>>;
  /** The waits of all its calls together. */
  readonly lostMs: number;
  readonly waitMs: Durations;
  readonly upstreamMs: Durations;
}

export interface MinuteSummary {
  /** When it began: `2026-11-24T06:26Z`. */
  readonly minute: string;
  readonly calls: number;
  readonly waitMs: number;
  readonly throttled: number;
}

/** What a log says when its calls are added up. */
export interface Summary {
  /** Of the first and the last call or 429, ISO 8601; absent when there were none. */
  readonly from?: string;
  readonly to?: string;
  readonly all: GroupSummary;
  readonly codes: Readonly<Record<string, number>>;
  readonly byCaller: readonly GroupSummary[];
  readonly byPath: readonly GroupSummary[];
  readonly busiestMinutes: readonly MinuteSummary[];
  /** 429s that the API sent; callers did not see them. */
  readonly throttled: number;
  readonly throttledByBucket: Readonly<Record<string, number>>;
  /** As a share of the true value. */
  readonly quantileError: number;
}

/** Adds up calls in bounded memory, whatever the length of the log and the names in it. */
export class Summing {
  readonly #all = new CallTally();
  readonly #byCaller = new BoundedTallies({ most: MOST_KEYS, make: () => new CallTally() });
  readonly #byPath = new BoundedTallies({ most: MOST_KEYS, make: () => new CallTally() });
  readonly #codes = new BoundedTallies({ most: MOST_KEYS, make: () => new CountTally() });
  readonly #buckets = new BoundedTallies({ most: MOST_KEYS, make: () => new CountTally() });
  readonly #minutes = new BoundedTallies({ most: MOST_MINUTES, make: () => new MinuteTally() });
  #throttled = 0;
  #fromMs = Number.POSITIVE_INFINITY;
  #toMs = Number.NEGATIVE_INFINITY;

  add(line: LoggedCall | LoggedThrottle): void {
    this.#fromMs = Math.min(this.#fromMs, line.atMs);
    this.#toMs = Math.max(this.#toMs, line.atMs);
    const minute = this.#minutes.at(String(Math.floor(line.atMs / 60_000)));
    if (line.kind === 'throttled') {
      this.#throttled++;
      minute.throttled++;
      this.#buckets.at(named(line.bucket)).count++;
      return;
    }
    minute.count++;
    minute.waitMs += line.waitMs;
    this.#all.add(line);
    this.#byCaller.at(named(line.caller)).add(line);
    this.#byPath.at(`${named(line.method)} ${pathShape(line.path)}`).add(line);
    if (line.code !== undefined) this.#codes.at(named(line.code)).count++;
  }

  /** What was added so far, with the busiest `top` of each kind. */
  result(top: number): Summary {
    const period =
      this.#fromMs > this.#toMs
        ? {}
        : { from: new Date(this.#fromMs).toISOString(), to: new Date(this.#toMs).toISOString() };
    return {
      ...period,
      all: group('all', this.#all),
      codes: counts(this.#codes, top),
      byCaller: groups(this.#byCaller, top),
      byPath: groups(this.#byPath, top),
      busiestMinutes: this.#minutes.top(top).top.map(([minute, tally]) => ({
        minute: `${new Date(Number(minute) * 60_000).toISOString().slice(0, 16)}Z`,
        calls: tally.count,
        waitMs: Math.round(tally.waitMs),
        throttled: tally.throttled,
      })),
      throttled: this.#throttled,
      throttledByBucket: counts(this.#buckets, top),
      quantileError: Math.round(QUANTILE_ERROR * 1000) / 1000,
    };
  }
}

/** Lines come from files, and a file may say anything. */
function named(name: string): string {
  if (name === '') return '–';
  return name.length > LONGEST_NAME ? `${name.slice(0, LONGEST_NAME)}…` : name;
}

function groups(tallies: BoundedTallies<CallTally>, top: number): GroupSummary[] {
  const { top: busiest, rest } = tallies.top(top);
  const named = busiest.map(([name, tally]) => group(name, tally));
  return rest.count === 0 ? named : [...named, group('other', rest)];
}

function counts(tallies: BoundedTallies<CountTally>, top: number): Record<string, number> {
  const { top: busiest, rest } = tallies.top(top);
  const named = busiest.map(([name, { count }]) => [name, count] as const);
  return Object.fromEntries(rest.count === 0 ? named : [...named, ['other', rest.count]]);
}

function group(name: string, tally: CallTally): GroupSummary {
  return {
    name,
    calls: tally.count,
    waited: tally.waited,
    outcomes: { ...tally.outcomes },
    lostMs: Math.round(tally.wait.sumMs),
    waitMs: durations(tally.wait),
    upstreamMs: durations(tally.upstream),
  };
}

function durations(histogram: DurationHistogram): Durations {
  const tenth = (ms: number): number => Math.round(ms * 10) / 10;
  return {
    p50: tenth(histogram.quantileMs(0.5)),
    p90: tenth(histogram.quantileMs(0.9)),
    p99: tenth(histogram.quantileMs(0.99)),
    longest: tenth(histogram.longestMs),
  };
}
