import type {
  Granted,
  Grant,
  CallerSignal,
  Ledger,
  Cancelled,
  Outcome,
  Shed,
  Ticket,
} from '../../src/ledger/ledger.ts';
import { withQuota } from '../../src/gateway/identify/caller-quota.ts';
import { DrawsLedger } from '../../src/ledger/draws-ledger.ts';
import type { SocketPermits } from '../../src/ledger/ledger.ts';
import type { Answer } from '../../src/rate-headers/answer.ts';
import type { Priority } from '../../src/queue/flow.ts';
import type { Clock } from '../../src/util/clock.ts';

/** Sockets that a test frees. */
export class FakePermits implements SocketPermits {
  #free: number;
  #refused = false;
  readonly #onFree: (() => void)[] = [];

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

  release(): void {
    this.#free++;
    if (!this.#refused) return;
    this.#refused = false;
    for (const run of this.#onFree) run();
  }

  onFree(run: () => void): void {
    this.#onFree.push(run);
  }
}

/** One request of a test, and its state. */
export interface Asked {
  readonly ticket: Ticket;
  /** `waiting` until it was granted, shed or cancelled. */
  state: Granted | Shed | Cancelled | { readonly kind: 'waiting' };
  leave(): void;
}

export interface Ask {
  readonly bucket?: string;
  /** Further buckets, in their order; with what the request costs there, if that is stated. */
  readonly others?: readonly (string | readonly [bucket: string, cost: number])[];
  /** The quota of the caller, and what the request costs there. */
  readonly quota?: { readonly limit: number; readonly periodMs: number; readonly cost?: number };
  readonly owner?: string;
  readonly caller?: string;
  readonly priority?: Priority;
  readonly weight?: number;
  readonly cost?: number;
  readonly maxWaitMs?: number;
}

export interface ApiReport {
  readonly status?: number;
  readonly limit?: number;
  readonly remaining?: number;
  /** What the call did cost. */
  readonly cost?: number;
  readonly resetInMs?: number;
  readonly retryInMs?: number;
}

/** Requests grants of a ledger and settles them, as the gateway would. */
export class LedgerDriver {
  readonly ledger: Ledger;
  readonly #clock: Pick<Clock, 'now'>;
  readonly #permits: FakePermits;
  #count = 0;
  /** Ids of tickets, in the order of their grants. */
  readonly granted: string[] = [];

  constructor(ledger: Ledger, clock: Pick<Clock, 'now'>, permits: FakePermits) {
    this.ledger = ledger;
    this.#clock = clock;
    this.#permits = permits;
  }

  ask(ask: Ask = {}): Asked {
    const { bucket = 'b', owner = 'o', caller = 'c', priority = 'normal', weight = 1 } = ask;
    const now = this.#clock.now();
    const request = {
      id: `${caller}-${++this.#count}`,
      owner,
      caller,
      priority,
      weight,
      arrivedAt: now,
      deadlineAt: now + (ask.maxWaitMs ?? 120_000),
    };
    const others = ask.others?.map((other, i, all): Ticket => {
      const [id, cost] = typeof other === 'string' ? [other] : other;
      const ticket = { ...request, bucket: { id, class: 'read', name: id }, cost };
      return i === all.length - 1 ? ticket : { ...ticket, needsNoSocket: true };
    });
    const ticket: Ticket = {
      ...request,
      bucket: { id: bucket, class: 'read' },
      cost: ask.cost,
      ...(others === undefined ? {} : { needsNoSocket: true, others }),
    };
    if (ask.quota === undefined) return this.#acquire(ticket);
    const { limit, periodMs, cost } = ask.quota;
    const configuredLimit = { limit, periodMs, isOwn: true } as const;
    const name = { id: `quota:${caller}`, class: 'quota', name: caller, configuredLimit };
    return this.#acquire(withQuota(ticket, name, cost));
  }

  /** Requests a retry of the same ticket. */
  retry(asked: Asked, notBefore = 0): Asked {
    return this.#acquire(asked.ticket, { notBefore });
  }

  /** `others`: what the same answer reports of the further buckets. */
  answer(asked: Asked, report: ApiReport = {}, ...others: readonly ApiReport[]): void {
    const now = this.#clock.now();
    const toOutcome = (one: ApiReport): Outcome => ({
      kind: 'answered',
      answer: toAnswer(one, now),
    });
    if (others.length === 0) this.ledger.settle(this.grantOf(asked), toOutcome(report));
    else if (this.ledger instanceof DrawsLedger) {
      this.ledger.settle(this.grantOf(asked), [report, ...others].map(toOutcome));
    } else throw new Error('expected a ledger of several buckets');
    this.#permits.release();
  }

  /** The API accepted the request, and what it reports is of the other buckets than the quota. */
  answerWithQuota(asked: Asked, ...reports: readonly ApiReport[]): void {
    const periodMs = asked.ticket.quota?.bucket.configuredLimit?.periodMs ?? 0;
    this.answer(asked, { resetInMs: periodMs }, ...reports);
  }

  unsent(asked: Asked): void {
    this.ledger.settle(this.grantOf(asked), { kind: 'unsent' });
    this.#permits.release();
  }

  lost(asked: Asked): void {
    this.ledger.settle(this.grantOf(asked), { kind: 'lost' });
    this.#permits.release();
  }

  grantOf({ state, ticket }: Asked): Grant {
    if (state.kind === 'granted') return state.grant;
    throw new Error(`expected ${ticket.id} to be granted, it is ${state.kind}`);
  }

  #acquire(ticket: Ticket, retry?: { notBefore: number }): Asked {
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
    const setState = (state: Granted | Shed | Cancelled): void => {
      asked.state = state;
      if (state.kind === 'granted') this.granted.push(ticket.id);
    };
    const admission = this.ledger.acquire(ticket, signal, retry);
    if (admission.kind === 'waiting') void admission.outcome.then(setState);
    else setState(admission);
    return asked;
  }
}

function toAnswer(report: ApiReport, now: number): Answer {
  const { status = 200, limit, remaining, cost, resetInMs, retryInMs } = report;
  const delay = (afterMs: number) => ({ kind: 'delay', afterMs, resolutionMs: 0 }) as const;
  return {
    status,
    reading: {
      ...(limit === undefined ? {} : { limit }),
      ...(remaining === undefined ? {} : { remaining }),
      ...(cost === undefined ? {} : { cost }),
      ...(resetInMs === undefined ? {} : { reset: delay(resetInMs) }),
      ...(retryInMs === undefined ? {} : { retryAfter: delay(retryInMs) }),
    },
    sentAt: now,
    receivedAt: now,
  };
}
