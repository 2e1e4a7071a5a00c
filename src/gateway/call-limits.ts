import { GatewayError } from './problem.ts';

/** Calls end all the time, so there is room again within about a second. */
const RETRY_MS = 1000;
/** Owners without a call are kept up to this number (docs/decisions/0009), then removed together. */
const MAX_IDLE_OWNERS = 1000;

/**
 * Bounds the calls that have not ended, of all owners together and of each one. An owner is the
 * party that the queue is fair to. It may have half of all calls, so that it cannot shut out the
 * others.
 */
export class CallLimits {
  readonly #maxCalls: number;
  readonly #maxOfOwner: number;
  readonly #calls = new Map<string, number>();
  #idleOwners = 0;

  constructor(maxCalls: number) {
    this.#maxCalls = maxCalls;
    this.#maxOfOwner = Math.max(1, Math.ceil(maxCalls / 2));
  }

  /** The problem of a call that is one too many when `calls` are under way, it included. */
  problemOf(calls: number): GatewayError | undefined {
    if (calls <= this.#maxCalls) return undefined;
    const why = `${this.#maxCalls} calls are under way (HEADGATE_MAX_CALLS), as many as may be`;
    return new GatewayError('too-many-calls', why, { retryAfterMs: RETRY_MS });
  }

  /** Counts one more call of `owner`. Throws a {@link GatewayError} if it has too many already. */
  enter(owner: string): void {
    const known = this.#calls.get(owner);
    if (known !== undefined && known >= this.#maxOfOwner) {
      const why = `${known} calls of this caller are under way, as many as one caller may have (half of HEADGATE_MAX_CALLS)`;
      throw new GatewayError('too-many-calls', why, { retryAfterMs: RETRY_MS });
    }
    if (known === 0) this.#idleOwners--;
    this.#calls.set(owner, (known ?? 0) + 1);
  }

  /** A call that was counted for `owner` has ended. */
  leave(owner: string): void {
    const left = (this.#calls.get(owner) ?? 1) - 1;
    this.#calls.set(owner, left);
    if (left > 0) return;
    this.#idleOwners++;
    if (this.#idleOwners > Math.max(MAX_IDLE_OWNERS, this.#calls.size / 2)) this.#removeIdle();
  }

  #removeIdle(): void {
    for (const [owner, calls] of this.#calls) if (calls === 0) this.#calls.delete(owner);
    this.#idleOwners = 0;
  }

  /** How many owners are known, with those that have no call any more. */
  get owners(): number {
    return this.#calls.size;
  }
}
