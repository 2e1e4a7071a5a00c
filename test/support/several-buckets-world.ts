import type { DrawsLedger } from '../../src/ledger/draws-ledger.ts';
import type {
  CallerSignal,
  Cancelled,
  Grant,
  Granted,
  Outcome,
  Retry,
  Shed,
  Ticket,
} from '../../src/ledger/ledger.ts';
import type { Answer } from '../../src/rate-headers/answer.ts';
import type { FakeClock } from './fake-clock.ts';
import type { FakePermits } from './ledger-driver.ts';
import { makeLimiter, type Limiter, type LimiterOptions, type Semantics } from './limiter.ts';

/** A limit of the API, which answers report. */
export interface WorldLimit extends LimiterOptions {
  /** The bucket's id. */
  readonly id: string;
  /** `fixed` by default. */
  readonly semantics?: Semantics;
  /** Whether the ledger is told its size, and answers do not report it. */
  readonly isStated?: boolean;
}

/** A gateway in front of the API: its ledger, and its sockets to the API. */
export interface WorldReplica {
  readonly ledger: DrawsLedger;
  readonly permits: Pick<FakePermits, 'release'>;
}

export interface CallOptions {
  /** The gateway that the call goes through; that of the world by default. */
  readonly replica?: WorldReplica;
  /** The limits from which it spends, in the order in which they are acquired, with its costs. */
  readonly draws: readonly (readonly [id: string, cost: number])[];
  readonly owner?: string;
  readonly maxWaitMs?: number;
  /** When its caller disconnects, after its arrival; never by default. */
  readonly leavesAfterMs?: number | undefined;
  /** From the grant to the API, and as long again for the answer. */
  readonly oneWayMs?: number;
  /**
   * What happens to the request: it is answered, it is not sent, it is lost on its way to the API, or
   * its answer is.
   */
  readonly fate?: 'answered' | 'unsent' | 'lost-before' | 'lost-after' | undefined;
  /** It is sent again this often after a refusal; 3 times by default. */
  readonly retries?: number;
}

/** A call and how its last wait ended. */
export interface WorldCall {
  readonly ticket: Ticket;
  readonly owner: string;
  state: 'waiting' | 'sent' | 'served' | 'refused' | 'over' | Shed | Cancelled;
  /** When it began to wait for the last time, and when that ended. */
  askedAt: number;
  decidedAt: number;
}

interface Metered {
  readonly limit: WorldLimit;
  readonly limiter: Limiter;
}

/**
 * Calls through a ledger to an API that counts each in several limits, on a fake clock. The API is
 * exact: its answers report every limit as it is, and a window begins with its first request.
 */
export class SeveralBucketsWorld {
  readonly #replica: WorldReplica;
  readonly #clock: FakeClock;
  readonly #limits: ReadonlyMap<string, Metered>;
  readonly calls: WorldCall[] = [];
  /** When the API accepted requests, by limit, once for each operation. */
  readonly accepted = new Map<string, number[]>();
  /** How many requests the API refused, by limit. */
  readonly refused = new Map<string, number>();
  sent = 0;

  constructor(
    ledger: DrawsLedger,
    clock: FakeClock,
    permits: FakePermits,
    limits: readonly WorldLimit[],
  ) {
    this.#replica = { ledger, permits };
    this.#clock = clock;
    this.#limits = new Map(
      limits.map((limit) => [
        limit.id,
        { limit, limiter: makeLimiter(limit.semantics ?? 'fixed', limit) },
      ]),
    );
    for (const { id } of limits) {
      this.accepted.set(id, []);
      this.refused.set(id, 0);
    }
  }

  get refusals(): number {
    return [...this.refused.values()].reduce((sum, count) => sum + count, 0);
  }

  /** Requests a grant, and does with it what the options say. */
  call(options: CallOptions): WorldCall {
    const { owner = 'o', leavesAfterMs } = options;
    const ticket = this.#ticketFor(options);
    const call: WorldCall = { ticket, owner, state: 'waiting', askedAt: 0, decidedAt: 0 };
    this.calls.push(call);
    let onGone: (() => void) | undefined;
    const signal: CallerSignal & { gone: boolean } = {
      gone: false,
      onGone(listener) {
        onGone = listener;
        return () => (onGone = undefined);
      },
    };
    if (leavesAfterMs !== undefined) {
      this.#clock.after(leavesAfterMs, () => {
        signal.gone = true;
        onGone?.();
      });
    }
    this.#acquire(call, options, signal, options.retries ?? 3);
    return call;
  }

  #ticketFor({ draws, owner = 'o', maxWaitMs = 60_000 }: CallOptions): Ticket {
    const now = this.#clock.now();
    const tickets = draws.map(([id, cost], i): Ticket => {
      const { limit } = this.#of(id);
      return {
        id: `${owner}-${this.calls.length}`,
        bucket: {
          id,
          class: 'c',
          name: id,
          configuredLimit: limit.isStated === true ? limit : undefined,
        },
        owner,
        caller: owner,
        priority: 'normal',
        weight: 1,
        cost,
        arrivedAt: now,
        deadlineAt: now + maxWaitMs,
        ...(i < draws.length - 1 ? { needsNoSocket: true } : {}),
      };
    });
    const [first, ...others] = tickets;
    if (first === undefined) throw new Error('expected at least one limit');
    return others.length === 0 ? first : { ...first, others };
  }

  #acquire(
    call: WorldCall,
    options: CallOptions,
    signal: CallerSignal,
    retries: number,
    retry?: Retry,
  ): void {
    call.state = 'waiting';
    call.askedAt = this.#clock.now();
    const decide = (outcome: Granted | Shed | Cancelled): void => {
      call.decidedAt = this.#clock.now();
      if (outcome.kind !== 'granted') {
        call.state = outcome;
        return;
      }
      call.state = 'sent';
      this.#send(call, options, outcome.grant, (isRefused) => {
        if (!isRefused) return;
        if (retries === 0 || signal.gone) call.state = 'refused';
        else this.#acquire(call, options, signal, retries - 1, { notBefore: 0 });
      });
    };
    const { ledger } = options.replica ?? this.#replica;
    const admission = ledger.acquire(call.ticket, signal, retry);
    if (admission.kind === 'waiting') void admission.outcome.then(decide);
    else decide(admission);
  }

  #send(
    call: WorldCall,
    { draws, fate = 'answered', oneWayMs = 20, replica = this.#replica }: CallOptions,
    grant: Grant,
    onAnswer: (isRefused: boolean) => void,
  ): void {
    const sentAt = this.#clock.now();
    const end = (outcome: Outcome | readonly Outcome[], isRefused: boolean): void => {
      replica.ledger.settle(grant, outcome);
      replica.permits.release();
      call.state = isRefused || fate !== 'answered' ? 'over' : 'served';
      onAnswer(isRefused);
    };
    if (fate === 'unsent') {
      this.#clock.after(oneWayMs, () => end({ kind: 'unsent' }, false));
      return;
    }
    this.#clock.after(oneWayMs, () => {
      const answers = fate === 'lost-before' ? undefined : this.#count(draws);
      this.#clock.after(oneWayMs, () => {
        if (answers === undefined || fate !== 'answered') return end({ kind: 'lost' }, false);
        const receivedAt = this.#clock.now();
        end(
          answers.map((one) => ({ kind: 'answered', answer: { ...one, sentAt, receivedAt } })),
          answers.some(({ status }) => status === 429),
        );
      });
    });
  }

  /** What the API makes of a request that arrives now, for each of the limits. */
  #count(draws: CallOptions['draws']): Omit<Answer, 'sentAt' | 'receivedAt'>[] {
    const now = this.#clock.now();
    this.sent++;
    const refusing = draws.find(([id, cost]) => !this.#of(id).limiter.look(now, cost).allowed);
    if (refusing !== undefined) {
      this.refused.set(refusing[0], (this.refused.get(refusing[0]) ?? 0) + 1);
    }
    return draws.map(([id, cost]) => {
      const { limit, limiter } = this.#of(id);
      const isAccepted = refusing === undefined;
      const verdict = isAccepted ? limiter.take(now, cost) : limiter.look(now, 0);
      if (isAccepted) for (let i = 0; i < cost; i++) this.accepted.get(id)?.push(now);
      const isRefusing = refusing?.[0] === id;
      const delay = (atMs: number) =>
        ({ kind: 'delay', afterMs: Math.max(0, atMs - now), resolutionMs: 0 }) as const;
      // As the gateway settles it: what another bucket refused spent nothing here.
      const isFree = refusing !== undefined && limit.isStated !== true && verdict.remaining > 0;
      return {
        status: isRefusing || isFree ? 429 : 200,
        reading: {
          ...(limit.isStated === true
            ? {}
            : {
                limit: verdict.limit,
                remaining: verdict.remaining,
                reset: delay(verdict.resetAtMs),
              }),
          ...(isRefusing ? { retryAfter: delay(limiter.look(now, refusing[1]).retryAtMs) } : {}),
        },
      };
    });
  }

  #of(id: string): Metered {
    const known = this.#limits.get(id);
    if (known === undefined) throw new Error(`expected one of the limits, got ${id}`);
    return known;
  }
}
