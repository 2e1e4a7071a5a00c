import type { SocketPermits } from '../ledger.ts';

/** One bucket's steps, as far as the scheduler decides on them. */
export interface ScheduledSteps {
  /** Whether a step is under way. */
  readonly stepping: boolean;
  /** Whether a ticket waits here that could use a socket. */
  readonly needsSocket: boolean;
  /** Requests a step, also when there is nothing to report. */
  request(): void;
  /** Starts the step that {@link StepScheduler.admit} held back; returns whether it did. */
  proceed(): boolean;
}

/**
 * What the steps of all buckets of one shared ledger have in common at this replica. It numbers their
 * epochs, bounds the steps under way, and orders the buckets that wait for a socket.
 */
export class StepScheduler {
  readonly #permits: SocketPermits;
  #epoch = 0;
  #underWay = 0;
  /** Steps held back by the bound, in the order of request. */
  readonly #heldBack = new Set<ScheduledSteps>();
  /** Buckets whose tickets found no free socket, in the order of request. */
  readonly #starved = new Set<ScheduledSteps>();
  /** Buckets that step now because a socket is free. */
  readonly #turns = new Set<ScheduledSteps>();

  constructor(permits: SocketPermits) {
    this.#permits = permits;
    permits.onFree(() => this.#serveStarved());
  }

  /** Whether the next socket that becomes free is meant for a bucket that waits for one. */
  get hasStarved(): boolean {
    return this.#starved.size + this.#turns.size > 0;
  }

  /** Greater each time, over all buckets. */
  nextEpoch(): number {
    return ++this.#epoch;
  }

  /** Returns whether a step may start now; if not, `steps.proceed` is called later. */
  admit(steps: ScheduledSteps): boolean {
    if (this.#underWay >= MAX_STEPS) {
      this.#heldBack.add(steps);
      return false;
    }
    this.#underWay++;
    this.#heldBack.delete(steps);
    return true;
  }

  /** An admitted step has ended. */
  ended(steps: ScheduledSteps): void {
    this.#underWay--;
    for (const next of this.#heldBack) {
      this.#heldBack.delete(next);
      if (next.proceed()) break;
    }
    if (steps.stepping || !this.#turns.delete(steps)) return;
    // The bucket may have had no budget for the socket: the next bucket gets its turn.
    if (this.#starved.size > 0) this.#serveStarved();
  }

  /** Tickets of the bucket wait for a socket: it takes a step in its turn when one is free. */
  awaitSocket(steps: ScheduledSteps): void {
    this.#starved.add(steps);
  }

  forget(steps: ScheduledSteps): void {
    for (const all of [this.#heldBack, this.#starved, this.#turns]) all.delete(steps);
  }

  clear(): void {
    for (const all of [this.#heldBack, this.#starved, this.#turns]) all.clear();
  }

  /** Sockets became free: the buckets that wait for one take a step each, in turn. */
  #serveStarved(): void {
    let free = this.#permits.free - this.#turns.size;
    // A bucket that still needs one joins the end of the queue and has its turn next time.
    for (const steps of Array.from(this.#starved)) {
      if (free <= 0) break;
      this.#starved.delete(steps);
      if (!steps.needsSocket) continue;
      free--;
      this.#turns.add(steps);
      steps.request();
    }
  }
}

/**
 * Steps of this replica that may be under way at once. If a thousand buckets stepped in one moment,
 * their steps would wait for each other in the server, and the delay would pass for an outage.
 */
export const MAX_STEPS = 64;
