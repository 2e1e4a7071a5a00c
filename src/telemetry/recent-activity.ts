import type { Clock } from '../util/clock.ts';
import type { CallLine, CallRecorder } from './call-line.ts';
import { History, type HistoryPoint } from './history.ts';

/** Finished calls that are kept to be looked at. */
const CALLS_KEPT = 1000;

/** A finished call, its place in the order of all, and when it was over. */
export interface FeedCall {
  /** Counts every call since the start, from 1. */
  readonly sequence: number;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly line: CallLine;
}

/** Says whether a call is wanted. */
export type CallFilter = (line: CallLine) => boolean;

/** Some calls, newest first, and how many more there were. */
export interface CallBatch {
  readonly calls: readonly FeedCall[];
  /** Wanted ones that are not among them, as far as they were still known. */
  readonly skipped: number;
}

/**
 * What just happened, for who looks: the last calls and the last fifteen minutes. Watchers read it
 * when they want to; a call costs the same whether anybody watches or not.
 */
export class Feed {
  readonly #clock: Clock;
  readonly #history: History;
  /** Call number n is at n modulo the length. */
  readonly #calls: FeedCall[] = [];
  #sequence = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#history = new History(clock);
  }

  /** The number of the newest call; 0 before the first. */
  get sequence(): number {
    return this.#sequence;
  }

  /** How many calls it keeps. */
  get kept(): number {
    return CALLS_KEPT;
  }

  /** Milliseconds that one of {@link points} stands for. */
  get stepMs(): number {
    return this.#history.stepMs;
  }

  /** The number of the point that is now, whether or not anything happened in it yet. */
  get step(): number {
    return this.#history.step;
  }

  readonly record: CallRecorder = (line) => {
    const sequence = ++this.#sequence;
    this.#calls[sequence % CALLS_KEPT] = { sequence, at: this.#clock.wallMs(), line };
    this.#history.add(line);
  };

  /** The API answered an attempt with 429. */
  throttled(): void {
    this.#history.throttled();
  }

  /** The newest points of the last fifteen minutes, oldest first. */
  points(most?: number): HistoryPoint[] {
    return this.#history.points(most);
  }

  /** Up to `most` calls after number `after` that `wanted` wants, newest first. */
  since(after: number, most: number, wanted: CallFilter): CallBatch {
    const oldest = Math.max(after, this.#sequence - CALLS_KEPT);
    const calls: FeedCall[] = [];
    let skipped = 0;
    for (let sequence = this.#sequence; sequence > oldest; sequence--) {
      const call = this.#calls[sequence % CALLS_KEPT];
      if (call === undefined || !wanted(call.line)) continue;
      if (calls.length < most) calls.push(call);
      else skipped++;
    }
    return { calls, skipped };
  }
}
