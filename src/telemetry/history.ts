import type { Clock } from '../util/clock.ts';
import type { CallLine } from './call-line.ts';

/** Fifteen minutes in steps of five seconds. */
const STEP_MS = 5000;
const STEPS = 180;
/** Waits are counted in bins, each a fifth wider than the one before: 1 ms to 17 minutes. */
const BINS = 82;
const BINS_PER_DOUBLING = 4;

/** The numbers of one step of time. */
export interface HistoryPoint {
  /** The number of the step. The newest point changes until its step is over. */
  readonly step: number;
  /** When the step began, in milliseconds since 1970. */
  readonly at: number;
  readonly calls: number;
  readonly answered: number;
  readonly shed: number;
  readonly failed: number;
  readonly aborted: number;
  /** Attempts that the API throttled. */
  readonly throttled: number;
  /** The median and the 95th percentile of the waits, in milliseconds. */
  readonly waitP50: number;
  readonly waitP95: number;
}

/** Numbers of the last fifteen minutes, in a fixed amount of memory. */
export class History {
  readonly #clock: Clock;
  readonly #steps: Step[] = [];
  #current: Step;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#current = this.#stepAt(this.step);
  }

  /** Milliseconds that one point covers. */
  get stepMs(): number {
    return STEP_MS;
  }

  /** The number of the current step. */
  get step(): number {
    return Math.floor(this.#clock.now() / STEP_MS);
  }

  add({ outcome, waitMs }: Pick<CallLine, 'outcome' | 'waitMs'>): void {
    const step = this.#now();
    step.calls++;
    step[outcome]++;
    const bin = binOf(waitMs);
    step.waits[bin] = (step.waits[bin] ?? 0) + 1;
  }

  throttled(): void {
    this.#now().throttled++;
  }

  /** The newest `max` points, oldest first, without empty ones. */
  points(max = STEPS): HistoryPoint[] {
    const now = this.#clock.now();
    const current = Math.floor(now / STEP_MS);
    const wallOffset = this.#clock.wallMs() - now;
    const points: HistoryPoint[] = [];
    for (let index = current - Math.min(max, STEPS) + 1; index <= current; index++) {
      const step = this.#steps[ringIndexOf(index)];
      if (step?.index === index) points.push(pointOf(step, wallOffset));
    }
    return points;
  }

  #now(): Step {
    const index = this.step;
    if (this.#current.index !== index) this.#current = this.#stepAt(index);
    return this.#current;
  }

  /** A new step, which reuses the memory of the step that is fifteen minutes old. */
  #stepAt(index: number): Step {
    const waits = this.#steps[ringIndexOf(index)]?.waits.fill(0) ?? new Uint32Array(BINS);
    const step = { index, calls: 0, answered: 0, shed: 0, failed: 0, aborted: 0, throttled: 0 };
    return (this.#steps[ringIndexOf(index)] = { ...step, waits });
  }
}

interface Step {
  readonly index: number;
  calls: number;
  answered: number;
  shed: number;
  failed: number;
  aborted: number;
  throttled: number;
  readonly waits: Uint32Array;
}

function ringIndexOf(index: number): number {
  return ((index % STEPS) + STEPS) % STEPS;
}

function pointOf({ index, waits, ...counts }: Step, wallOffset: number): HistoryPoint {
  return {
    step: index,
    at: Math.round(index * STEP_MS + wallOffset),
    ...counts,
    waitP50: quantile(waits, counts.calls, 0.5),
    waitP95: quantile(waits, counts.calls, 0.95),
  };
}

/** Bin 0 is for waits under a millisecond: calls that did not wait. */
function binOf(waitMs: number): number {
  if (waitMs < 1) return 0;
  return Math.min(BINS - 1, 1 + Math.floor(Math.log2(waitMs) * BINS_PER_DOUBLING));
}

function quantile(waits: Uint32Array, calls: number, share: number): number {
  let left = Math.ceil(calls * share);
  if (left === 0) return 0;
  for (let bin = 0; bin < BINS; bin++) {
    left -= waits[bin] ?? 0;
    // The middle of the bin, on the logarithmic scale of the bins.
    if (left <= 0) return bin === 0 ? 0 : Math.round(2 ** ((bin - 0.5) / BINS_PER_DOUBLING));
  }
  return 0;
}
