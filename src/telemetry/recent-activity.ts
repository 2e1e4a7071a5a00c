import type { Clock } from '../util/clock.ts';
import { ApiWatch, type ApiState } from './api-state.ts';
import type { CallLine, CallRecorder } from './call-line.ts';
import { History, type HistoryPoint } from './history.ts';

/** How many finished calls are kept. */
const CALLS_KEPT = 1000;

/** A finished call, its number, and the time at which it ended. */
export interface RecentCall {
  /** The number of the call since the start, from 1. */
  readonly sequence: number;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly line: CallLine;
}

/** How many calls in observe mode would have waited or been shed. */
export interface ObservedCalls {
  readonly wouldWait: number;
  readonly wouldShed: number;
}

/** A call that would have waited less counts as one that would not have waited. */
const WAITED_MS = 1;

/** Whether a call matches. */
export type CallFilter = (line: CallLine) => boolean;

/** Some calls, newest first, and how many more match. */
export interface CallBatch {
  readonly calls: readonly RecentCall[];
  /** How many kept calls match and are not in {@link calls}. */
  readonly skipped: number;
}

/**
 * Keeps the last 1000 calls, and the numbers of the last fifteen minutes, for the live page and the
 * admin API. Readers poll it, so recording a call costs the same with any number of readers.
 */
export class RecentActivity {
  readonly #clock: Clock;
  readonly #history: History;
  readonly #api: ApiWatch;
  /** A ring: call number n is at index n modulo {@link CALLS_KEPT}. */
  readonly #calls: RecentCall[] = [];
  #sequence = 0;
  #wouldWait = 0;
  #wouldShed = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#history = new History(clock);
    this.#api = new ApiWatch(clock);
  }

  /** The number of the newest call; 0 before the first. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Since the start. */
  get observed(): ObservedCalls {
    return { wouldWait: this.#wouldWait, wouldShed: this.#wouldShed };
  }

  /** Whether the API answers. */
  get api(): ApiState {
    return this.#api.state;
  }

  /** How many calls it keeps. */
  get kept(): number {
    return CALLS_KEPT;
  }

  /** Milliseconds that one of the {@link points} covers. */
  get stepMs(): number {
    return this.#history.stepMs;
  }

  /** The number of the current point, also while it is empty. */
  get step(): number {
    return this.#history.step;
  }

  readonly record: CallRecorder = (line) => {
    const sequence = ++this.#sequence;
    this.#calls[sequence % CALLS_KEPT] = { sequence, at: this.#clock.wallMs(), line };
    if (line.wouldShed !== undefined) this.#wouldShed++;
    else if (line.wouldWaitMs !== undefined && line.wouldWaitMs >= WAITED_MS) this.#wouldWait++;
    this.#history.add(line);
    this.#api.add(line);
  };

  /** The API throttled an attempt. */
  throttled(): void {
    this.#history.throttled();
  }

  /** The newest points of the last fifteen minutes, oldest first. */
  points(max?: number): HistoryPoint[] {
    return this.#history.points(max);
  }

  /** Up to `max` calls after number `after` that match, newest first. */
  since(after: number, max: number, matches: CallFilter): CallBatch {
    const oldest = Math.max(after, this.#sequence - CALLS_KEPT);
    const calls: RecentCall[] = [];
    let skipped = 0;
    for (let sequence = this.#sequence; sequence > oldest; sequence--) {
      const call = this.#calls[sequence % CALLS_KEPT];
      if (call === undefined || !matches(call.line)) continue;
      if (calls.length < max) calls.push(call);
      else skipped++;
    }
    return { calls, skipped };
  }
}
