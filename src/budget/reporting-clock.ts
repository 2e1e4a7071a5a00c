import type { OffsetBounds } from './observation.ts';
import type { Basis } from './observation.ts';

const NO_OFFSET: OffsetBounds = { low: 0, high: 0 };

/**
 * The clock on which an API reports its resets. Moments that it reported are kept on it and
 * converted when used, so that they get sharper as the API's clock becomes known.
 */
export class ResetClock {
  #basis: Basis = 'instant';
  /** The API's time less ours, as far as it is known by now. */
  offset = NO_OFFSET;

  /** A moment of the API's, on our clock: at the latest. */
  toLocal(time: number): number {
    return this.#basis === 'instant' ? time - this.offset.low : time;
  }

  /** A moment of ours, on the API's clock. */
  fromLocal(localTime: number): number {
    return this.#basis === 'instant' ? localTime + this.offset.low : localTime;
  }

  /**
   * Takes what the API reports from now on to be on the clock that `basis` names. Returns by how
   * many milliseconds every moment that was kept so far has to move for that.
   */
  setBasis(basis: Basis): number {
    if (basis === this.#basis) return 0;
    this.#basis = basis;
    return basis === 'instant' ? this.offset.low : -this.offset.low;
  }
}
