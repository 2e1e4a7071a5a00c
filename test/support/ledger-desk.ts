import type {
  Granted,
  Grant,
  CallerSignal,
  Ledger,
  Cancelled,
  Shed,
  Ticket,
} from '../../src/ledger/ledger.ts';
import type { SocketPermits } from '../../src/ledger/ledger.ts';
import type { Priority } from '../../src/queue/fair-queue.ts';
import type { Clock } from '../../src/util/clock.ts';

/** Sockets that a test hands out. */
export class FakePlaces implements SocketPermits {
  #free: number;
  #refused = false;
  #onFree: () => void = () => undefined;

  constructor(free: number) {
    this.#free = free;
  }

  get free(): number {
    this.#refused ||= this.#free === 0;
    return this.#free;
  }

  take(): boolean {
    this.#refused ||= this.#free === 0;
    if (this.#free === 0) return false;
    this.#free--;
    return true;
  }

  give(): void {
    this.#free++;
    if (!this.#refused) return;
    this.#refused = false;
    this.#onFree();
  }

  onFree(run: () => void): void {
    this.#onFree = run;
  }
}

/** One request of a test, and how it stands. */
export interface Asked {
  readonly ticket: Ticket;
  /** `waiting` until it was granted, shed, or left. */
  state: Granted | Shed | Cancelled | { readonly kind: 'waiting' };
  leave(): void;
}

export interface Ask {
  readonly bucket?: string;
  readonly owner?: string;
  readonly caller?: string;
  readonly priority?: Priority;
  readonly weight?: number;
  readonly maxWaitMs?: number;
}

export interface SaidByTheApi {
  readonly status?: number;
  readonly limit?: number;
  readonly remaining?: number;
  readonly resetInMs?: number;
  readonly retryInMs?: number;
}

/** Asks a ledger for grants and answers them, as the gateway would. */
export class Desk {
  readonly ledger: Ledger;
  readonly #clock: Pick<Clock, 'now'>;
  readonly #places: FakePlaces;
  #count = 0;
  /** In the order in which they were granted. */
  readonly granted: string[] = [];

  constructor(ledger: Ledger, clock: Pick<Clock, 'now'>, places: FakePlaces) {
    this.ledger = ledger;
    this.#clock = clock;
    this.#places = places;
  }

  ask(ask: Ask = {}): Asked {
    const { bucket = 'b', owner = 'o', caller = 'c', priority = 'normal', weight = 1 } = ask;
    const now = this.#clock.now();
    return this.#acquire({
      id: `${caller}-${++this.#count}`,
      bucket: { id: bucket, class: 'read' },
      owner,
      caller,
      priority,
      weight,
      arrivedAt: now,
      deadlineAt: now + (ask.maxWaitMs ?? 120_000),
    });
  }

  /** The same ticket for a further attempt. */
  again(asked: Asked, notBefore = 0): Asked {
    return this.#acquire(asked.ticket, { notBefore });
  }

  answer(asked: Asked, said: SaidByTheApi = {}): void {
    const now = this.#clock.now();
    const { status = 200, limit, remaining, resetInMs, retryInMs } = said;
    const delay = (afterMs: number) => ({ kind: 'delay', afterMs, resolutionMs: 0 }) as const;
    this.ledger.settle(this.grantOf(asked), {
      kind: 'answered',
      answer: {
        status,
        reading: {
          ...(limit === undefined ? {} : { limit }),
          ...(remaining === undefined ? {} : { remaining }),
          ...(resetInMs === undefined ? {} : { reset: delay(resetInMs) }),
          ...(retryInMs === undefined ? {} : { retryAfter: delay(retryInMs) }),
        },
        sentAt: now,
        receivedAt: now,
      },
    });
    this.#places.give();
  }

  unsent(asked: Asked): void {
    this.ledger.settle(this.grantOf(asked), { kind: 'unsent' });
    this.#places.give();
  }

  lost(asked: Asked): void {
    this.ledger.settle(this.grantOf(asked), { kind: 'lost' });
    this.#places.give();
  }

  grantOf({ state, ticket }: Asked): Grant {
    if (state.kind === 'granted') return state.grant;
    throw new Error(`expected ${ticket.id} to be granted, it is ${state.kind}`);
  }

  #acquire(ticket: Ticket, again?: { notBefore: number }): Asked {
    let onGone: (() => void) | undefined;
    const signal: CallerSignal & { gone: boolean } = {
      gone: false,
      onGone: (listener) => {
        onGone = listener;
        return () => (onGone = undefined);
      },
    };
    const asked: Asked = {
      ticket,
      state: { kind: 'waiting' },
      leave() {
        signal.gone = true;
        onGone?.();
      },
    };
    const tell = (state: Granted | Shed | Cancelled): void => {
      asked.state = state;
      if (state.kind === 'granted') this.granted.push(ticket.id);
    };
    const admission = this.ledger.acquire(ticket, signal, again);
    if (admission.kind === 'waiting') void admission.outcome.then(tell);
    else tell(admission);
    return asked;
  }
}
