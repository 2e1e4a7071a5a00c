import type { Clock, Timer } from '../core/clock.ts';
import type { Waiter } from './handover.ts';
import type { Granted, Leaving, Left, Shed, Ticket } from './ledger.ts';

/** A ticket that waits in the shared queue, or is on its way there. */
export interface RemoteWaiter extends Waiter {
  leaving: Leaving;
  /** How the shared ledger knows it. */
  readonly id: string;
  /** Whether it was in the queue before: then the forecast does not judge it again. */
  hasWaited: boolean;
  deadline?: Timer;
  parkedFor?: Timer;
}

export interface WaitingHereOptions {
  readonly clock: Clock;
  /** The last moment at which an attempt may start here. */
  readonly latest: (ticket: Ticket) => number;
  /** How long a ticket that may not wait waits all the same: a step has to answer it. */
  readonly answerMs: number;
  /** What to tell a ticket whose moment passed. */
  readonly tooLate: (ticket: Ticket) => Shed;
  /** Something is there for the next step: a ticket, or the news that one left. */
  readonly onNews: () => void;
}

/**
 * One bucket's tickets of this replica, and what the shared queue has to hear of them: which are
 * new there, and which are gone.
 */
export class WaitingHere {
  readonly #options: WaitingHereOptions;
  /** By id, in the order of arrival here. */
  readonly #queued = new Map<string, RemoteWaiter>();
  /** Those that no step has carried in this epoch. */
  readonly #toSend = new Set<string>();
  /** Tickets that may not queue yet: the API throttled them and not the bucket. */
  readonly #parked = new Set<RemoteWaiter>();
  #gone: string[] = [];

  constructor(options: WaitingHereOptions) {
    this.#options = options;
  }

  /** How many wait in the queue; those that may not queue yet are none of them. */
  get queued(): number {
    return this.#queued.size;
  }

  get size(): number {
    return this.#queued.size + this.#parked.size;
  }

  /** How much the next step has to tell. */
  get untold(): number {
    return this.#toSend.size + this.#gone.length;
  }

  get all(): RemoteWaiter[] {
    return [...this.#queued.values(), ...this.#parked];
  }

  add(from: Waiter, id: string, hasWaited: boolean): void {
    const { clock, latest, answerMs, tooLate, onNews } = this.#options;
    const now = clock.now();
    const waiter: RemoteWaiter = { ...from, id, hasWaited };
    waiter.leaving.onGone(() => this.leave(waiter, { kind: 'left' }));
    const leftMs = latest(waiter.ticket) - now;
    const isFirst = !hasWaited && !waiter.isAgain;
    waiter.deadline = clock.after(leftMs <= 0 && isFirst ? answerMs : leftMs, () => {
      this.leave(waiter, tooLate(waiter.ticket));
    });
    if (waiter.notBefore <= now) return this.#enqueue(waiter);
    this.#parked.add(waiter);
    waiter.parkedFor = clock.after(waiter.notBefore - now, () => {
      this.#parked.delete(waiter);
      this.#enqueue(waiter);
      onNews();
    });
  }

  /** Ends the wait of one that the shared queue may still hold, and has it told so. */
  leave(waiter: RemoteWaiter, outcome: Shed | Left): void {
    const wasQueued = this.#queued.delete(waiter.id);
    if (wasQueued && !this.#toSend.delete(waiter.id)) this.#gone.push(waiter.id);
    this.#parked.delete(waiter);
    this.tell(waiter, outcome);
    this.#options.onNews();
  }

  /** Takes out one that the shared queue no longer holds; its caller is not told yet. */
  take(id: string): RemoteWaiter | undefined {
    const waiter = this.#queued.get(id);
    if (waiter === undefined) return undefined;
    this.#queued.delete(id);
    this.#toSend.delete(id);
    forgetTimers(waiter);
    return waiter;
  }

  tell(waiter: RemoteWaiter, outcome: Granted | Shed | Left): void {
    forgetTimers(waiter);
    waiter.leaving.onGone(undefined);
    // The call must not live as long as what is left of the waiter in outgrown tables (see Roll).
    waiter.leaving = NOBODY;
    waiter.tell(outcome);
  }

  /** What the next step carries; from then on it has been told. */
  nextTickets(most: number): RemoteWaiter[] {
    const next: RemoteWaiter[] = [];
    for (const id of this.#toSend) {
      if (next.length === most) break;
      this.#toSend.delete(id);
      const waiter = this.#queued.get(id);
      if (waiter !== undefined) next.push(waiter);
    }
    return next;
  }

  nextGone(most: number): string[] {
    return this.#gone.splice(0, most);
  }

  /** Everything has to be told anew, and first what a step that is void now would have told. */
  tellAnew(gone: readonly string[]): void {
    this.#gone.unshift(...gone);
    for (const id of this.#queued.keys()) this.#toSend.add(id);
  }

  /** Gives all away. `leaves`: the shared queue is told that they are gone. */
  empty({ leaves }: { leaves: boolean }): RemoteWaiter[] {
    const { all } = this;
    for (const waiter of all) forgetTimers(waiter);
    // One by one: there may be more of them than a call takes arguments.
    for (const id of leaves ? this.#queued.keys() : []) {
      if (!this.#toSend.has(id)) this.#gone.push(id);
    }
    this.#queued.clear();
    this.#toSend.clear();
    this.#parked.clear();
    return all;
  }

  /** Whoever comes after its own first step did wait. */
  haveWaited(waiters: readonly RemoteWaiter[]): void {
    for (const { id } of waiters) {
      const waiter = this.#queued.get(id);
      if (waiter !== undefined) waiter.hasWaited = true;
    }
  }

  #enqueue(waiter: RemoteWaiter): void {
    this.#queued.set(waiter.id, waiter);
    this.#toSend.add(waiter.id);
  }
}

const NOBODY: Leaving = { gone: true, onGone: () => undefined };

function forgetTimers(waiter: RemoteWaiter): void {
  waiter.deadline?.cancel();
  waiter.parkedFor?.cancel();
}
