import { BoundedTallies, type Tally } from './bounded-tallies.ts';
import { DurationHistogram, QUANTILE_ERROR } from './duration-histogram.ts';
import {
  OUTCOMES,
  WAITED_MS,
  type LoggedCall,
  type LoggedLine,
  type LoggedOutcome,
} from './log-line.ts';

/** How many keys of a kind are counted separately; the least busy of more become `other`. */
const MAX_KEYS = 500;
/** A week of minutes. */
const MAX_MINUTES = 10_080;
const LONGEST_NAME = 200;

/** Durations, in milliseconds. Quantiles are within {@link Summary.quantileError}. */
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
  readonly outcomes: Readonly<Record<LoggedOutcome, number>>;
  /** The sum of the waits of its calls. */
  readonly lostMs: number;
  readonly waitMs: Durations;
  readonly upstreamMs: Durations;
}

export interface MinuteSummary {
  /** The start of the minute: `2026-11-24T06:26Z`. */
  readonly minute: string;
  readonly calls: number;
  readonly waitMs: number;
  readonly throttled: number;
}

/** What would have been of the calls in observe mode. */
export interface ObservedSummary {
  /** Calls of which that is known. */
  readonly calls: number;
  readonly wouldWait: number;
  readonly wouldLoseMs: number;
  readonly wouldWaitMs: Durations;
  /** Calls that would have been shed, by code. */
  readonly wouldShed: Readonly<Record<string, number>>;
}

/** The sums over the calls of a log. */
export interface Summary {
  /** The times of the first and the last call or 429, ISO 8601; absent when there were none. */
  readonly from?: string;
  readonly to?: string;
  readonly all: GroupSummary;
  readonly codes: Readonly<Record<string, number>>;
  /** Absent without calls in observe mode. */
  readonly observed?: ObservedSummary;
  /** Empty where there is one API. */
  readonly byApi: readonly GroupSummary[];
  readonly byCaller: readonly GroupSummary[];
  readonly byPath: readonly GroupSummary[];
  readonly busiestMinutes: readonly MinuteSummary[];
  /** 429s that the API sent. */
  readonly throttled: number;
  readonly throttledByBucket: Readonly<Record<string, number>>;
  /** As a share of the true value. */
  readonly quantileError: number;
}

/** Sums up calls in bounded memory, whatever the length of the log and the names in it. */
export class SummaryBuilder {
  readonly #all = new CallTally();
  readonly #observed = new ObservedTally();
  readonly #byApi = new BoundedTallies({ max: MAX_KEYS, make: () => new CallTally() });
  readonly #byCaller = new BoundedTallies({ max: MAX_KEYS, make: () => new CallTally() });
  readonly #byPath = new BoundedTallies({ max: MAX_KEYS, make: () => new CallTally() });
  readonly #codes = new BoundedTallies({ max: MAX_KEYS, make: () => new CountTally() });
  readonly #buckets = new BoundedTallies({ max: MAX_KEYS, make: () => new CountTally() });
  readonly #minutes = new BoundedTallies({ max: MAX_MINUTES, make: () => new MinuteTally() });
  #throttled = 0;
  #fromMs = Number.POSITIVE_INFINITY;
  #toMs = Number.NEGATIVE_INFINITY;

  /** Adds a call or a 429; other lines count nothing. */
  add(line: LoggedLine): void {
    if (line.kind === 'event') return;
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
    this.#observed.add(line);
    if (line.api !== '') this.#byApi.at(named(line.api)).add(line);
    this.#byCaller.at(named(line.caller)).add(line);
    this.#byPath.at(`${named(line.method)} ${pathTemplate(line.path)}`).add(line);
    if (line.code !== undefined) this.#codes.at(named(line.code)).count++;
  }

  /** The summary so far, with the busiest `top` of each kind. */
  result(top: number): Summary {
    const period =
      this.#fromMs > this.#toMs
        ? {}
        : { from: new Date(this.#fromMs).toISOString(), to: new Date(this.#toMs).toISOString() };
    return {
      ...period,
      all: group('all', this.#all),
      codes: counts(this.#codes, top),
      ...(this.#observed.count === 0 ? {} : { observed: this.#observed.summary(top) }),
      byApi: groups(this.#byApi, top),
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

/** The outcomes of some calls, and their durations. */
class CallTally implements Tally<CallTally> {
  count = 0;
  /** Calls that waited for the budget. */
  waited = 0;
  readonly outcomes: Record<LoggedOutcome, number> = {
    answered: 0,
    shed: 0,
    failed: 0,
    aborted: 0,
  };
  readonly wait = new DurationHistogram();
  /** Only of calls that were sent. */
  readonly upstream = new DurationHistogram();

  add(line: LoggedCall): void {
    this.count++;
    this.outcomes[line.outcome]++;
    if (line.waitMs >= WAITED_MS) this.waited++;
    this.wait.add(line.waitMs);
    if (line.attempts > 0) this.upstream.add(line.upstreamMs);
  }

  merge(other: CallTally): void {
    this.count += other.count;
    this.waited += other.waited;
    for (const outcome of OUTCOMES) this.outcomes[outcome] += other.outcomes[outcome];
    this.wait.merge(other.wait);
    this.upstream.merge(other.upstream);
  }
}

/** What would have been of calls in observe mode. */
class ObservedTally {
  count = 0;
  readonly #wait = new DurationHistogram();
  readonly #shed = new BoundedTallies({ max: MAX_KEYS, make: () => new CountTally() });
  #waited = 0;

  add({ wouldWaitMs, wouldShed }: LoggedCall): void {
    if (wouldWaitMs === undefined && wouldShed === undefined) return;
    this.count++;
    if (wouldShed !== undefined) this.#shed.at(named(wouldShed)).count++;
    if (wouldWaitMs === undefined) return;
    this.#wait.add(wouldWaitMs);
    if (wouldWaitMs >= WAITED_MS) this.#waited++;
  }

  summary(top: number): ObservedSummary {
    return {
      calls: this.count,
      wouldWait: this.#waited,
      wouldLoseMs: Math.round(this.#wait.sumMs),
      wouldWaitMs: durations(this.#wait),
      wouldShed: counts(this.#shed, top),
    };
  }
}

/** A minute of the log. It has few numbers, because there are many minutes. */
class MinuteTally implements Tally<MinuteTally> {
  count = 0;
  waitMs = 0;
  throttled = 0;

  merge(other: MinuteTally): void {
    this.count += other.count;
    this.waitMs += other.waitMs;
    this.throttled += other.throttled;
  }
}

/** A plain count. */
export class CountTally implements Tally<CountTally> {
  count = 0;

  merge(other: CountTally): void {
    this.count += other.count;
  }
}

const NUMBER = /^\d+$/;
const UUID = /^[\da-f]{8}-(?:[\da-f]{4}-){3}[\da-f]{12}$/i;
const HEX = /^[\da-f]{16,}$/i;

/**
 * Replaces the ids in a path by `*`, so that all objects of a route are one key: `/domains/17`
 * becomes `/domains/*`. Numbers, UUIDs and long hexadecimal words are ids.
 */
export function pathTemplate(path: string): string {
  const template = path
    .split('/')
    .map((part) => (NUMBER.test(part) || UUID.test(part) || HEX.test(part) ? '*' : part))
    .join('/');
  return shortened(template);
}

/** A name of bounded length, because a file may contain anything. */
function named(name: string): string {
  return name === '' ? '–' : shortened(name);
}

function shortened(name: string): string {
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
