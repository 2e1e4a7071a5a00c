import type { Clock } from '../../util/clock.ts';
import type { BucketView } from '../ledger.ts';
import type { StepNumbers } from './wire.ts';

/**
 * One bucket's numbers, as the last step of this replica reported them. A step reports durations, so
 * each is shortened by the age of the step when it is read. All times are in milliseconds.
 */
export class LastNumbers {
  readonly #clock: Clock;
  #numbers: StepNumbers = { uncertainty: 0, leases: 0, waiting: 0, callCost: 1 };
  #receivedAt = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Replaces the numbers by those of a step whose reply arrived at `now`. */
  receive(numbers: StepNumbers, now: number): void {
    this.#numbers = numbers;
    this.#receivedAt = now;
  }

  get limit(): number | undefined {
    return this.#numbers.limit;
  }

  /** How many operations a request costs that does not state it. */
  get callCost(): number {
    return this.#numbers.callCost;
  }

  /** How many tickets of all replicas wait in the shared queue. */
  get waiting(): number {
    return this.#numbers.waiting;
  }

  /** How many of the available operations are kept; absent for none. */
  get kept(): number | undefined {
    return this.#numbers.kept;
  }

  /** How long the bucket is still blocked; 0 or less if it is not. */
  get blockedForMs(): number {
    return (this.#numbers.blockedFor ?? 0) - this.#ageMs;
  }

  /** Estimates in how long there is budget again: after the block, else at the reset; 0 if unknown. */
  get refillInMs(): number {
    const { blockedFor, resetIn } = this.#numbers;
    return Math.max(0, (blockedFor ?? resetIn ?? 0) - this.#ageMs);
  }

  /** When the last ticket of the shared queue can expect its grant, on `Clock.now`. */
  get lastEtaAt(): number | undefined {
    const { etaIn } = this.#numbers;
    return etaIn === undefined ? undefined : this.#receivedAt + etaIn;
  }

  /** How long that ticket can expect to wait from now on. */
  get etaMs(): number | undefined {
    const { etaIn } = this.#numbers;
    return etaIn === undefined ? undefined : Math.max(0, etaIn - this.#ageMs);
  }

  get view(): Pick<BucketView, 'limit' | 'remaining' | 'resetInMs' | 'blockedForMs' | 'leases'> {
    const { limit, remaining, leases, resetIn = 0 } = this.#numbers;
    const resetInMs = resetIn - this.#ageMs;
    const { blockedForMs } = this;
    return {
      ...(limit === undefined ? {} : { limit }),
      ...(remaining === undefined ? {} : { remaining }),
      ...(resetInMs > 0 ? { resetInMs } : {}),
      ...(blockedForMs > 0 ? { blockedForMs } : {}),
      leases,
    };
  }

  get #ageMs(): number {
    return this.#clock.now() - this.#receivedAt;
  }
}
