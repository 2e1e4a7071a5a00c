import { NameCounts } from '../../util/name-counts.ts';
import { GatewayError } from '../problem.ts';

/** Calls end all the time, so there is room again within about a second. */
const RETRY_MS = 1000;

/**
 * Bounds the calls that have not ended, of all owners together and of each one. An owner is the
 * party that the queue is fair to. It may have half of all calls, so that it cannot shut out the
 * others.
 */
export class CallLimits {
  readonly #maxCalls: number;
  readonly #maxOfOwner: number;
  readonly #calls = new NameCounts();

  constructor(maxCalls: number) {
    this.#maxCalls = maxCalls;
    this.#maxOfOwner = Math.max(1, Math.ceil(maxCalls / 2));
  }

  /** How many owners have a call under way. */
  get owners(): number {
    return this.#calls.nonZero;
  }

  /** The problem of a call that is one too many when `calls` are under way, it included. */
  problemOf(calls: number): GatewayError | undefined {
    if (calls <= this.#maxCalls) return undefined;
    const why = `${this.#maxCalls} calls are under way (HEADGATE_MAX_CALLS), as many as may be`;
    return new GatewayError('too-many-calls', why, { retryAfterMs: RETRY_MS });
  }

  /** Counts one more call of `owner`. Throws a {@link GatewayError} if it has too many already. */
  enter(owner: string): void {
    const calls = this.#calls.of(owner);
    if (calls >= this.#maxOfOwner) {
      const why = `${calls} calls of this caller are under way, as many as one caller may have (half of HEADGATE_MAX_CALLS)`;
      throw new GatewayError('too-many-calls', why, { retryAfterMs: RETRY_MS });
    }
    this.#calls.add(owner);
  }

  /** A call that was counted for `owner` has ended. */
  leave(owner: string): void {
    this.#calls.subtract(owner);
  }
}
