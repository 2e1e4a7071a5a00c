import type { Clock, Timer } from '../util/clock.ts';
import {
  isQuota,
  ticketsOf,
  type Admission,
  type BucketName,
  type CallerSignal,
  type Cancelled,
  type Grant,
  type Granted,
  type Ledger,
  type RemoveListener,
  type Retry,
  type Shed,
  type Ticket,
  type WaitDecision,
} from './ledger.ts';

export interface AcquisitionOptions {
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly socketPermits: { release(): void };
}

/**
 * The refusal that stands for those of all these buckets, and for `first`: one that no time ends, else
 * the one with the latest time.
 */
export function refusalOf(
  ledger: Ledger,
  tickets: readonly Ticket[],
  first?: Shed,
): Shed | undefined {
  let decisive = first;
  for (const ticket of tickets) {
    const refused = ledger.refusal(ticket);
    if (refused === undefined || !outweighs(refused, decisive)) continue;
    decisive = refusedBy(ticket.bucket, refused);
  }
  return decisive;
}

/** A refusal with its bucket. A wait for the quota of a caller has a code of its own. */
function refusedBy(bucket: BucketName, shed: Shed): Shed {
  const isByQuota = isQuota(bucket) && shed.code === 'wait-too-long' && shed.paused === undefined;
  return isByQuota ? { ...shed, code: 'caller-quota', bucket } : { ...shed, bucket };
}

function outweighs(refused: Shed, other: Shed | undefined): boolean {
  if (other === undefined) return true;
  if (other.code === 'cost-too-high') return false;
  return refused.code === 'cost-too-high' || refused.retryAfterMs > other.retryAfterMs;
}

/** A grant of each of a ticket's buckets. */
export class JointGrant implements Grant {
  readonly ticket: Ticket;
  readonly grantedAt: number;
  readonly waitedFor: Grant['waitedFor'];
  readonly longestWaitAt: BucketName | undefined;
  readonly fromReserve: true | undefined;
  #parts: readonly Grant[];

  constructor(grant: Grant, parts: readonly Grant[]) {
    this.ticket = grant.ticket;
    this.grantedAt = grant.grantedAt;
    this.waitedFor = grant.waitedFor;
    this.longestWaitAt = grant.longestWaitAt;
    this.fromReserve = grant.fromReserve;
    this.#parts = parts;
  }

  /** The grants of the single buckets, once: a grant is settled once. */
  takeParts(): readonly Grant[] {
    const parts = this.#parts;
    if (parts.length === 0) throw new Error('a grant was settled twice');
    this.#parts = [];
    return parts;
  }

  with(parts: readonly Grant[]): JointGrant {
    const { ticket, waitedFor, longestWaitAt, fromReserve } = this;
    const grantedAt = parts[0]?.grantedAt ?? this.grantedAt;
    return new JointGrant({ ticket, grantedAt, waitedFor, longestWaitAt, fromReserve }, parts);
  }
}

/** Well before a lease expires (LEASE_MS). */
const RENEW_MS = 5000;
/** A grant that is used later than this counts as given when it is used, so its answer has time. */
const FRESH_MS = 1000;

/** What tickets wait for; of several buckets, the last of these counts. */
const WAITS: readonly Grant['waitedFor'][] = ['nothing', 'socket', 'reserve', 'budget'];

/** One ticket's way through its buckets. */
export class Acquisition {
  readonly #options: AcquisitionOptions;
  readonly #ticket: Ticket;
  readonly #tickets: readonly Ticket[];
  readonly #signal: LeavingSignal;
  readonly #retry: Retry | undefined;
  #held: Grant[] = [];
  #waitedFor: Grant['waitedFor'] = 'nothing';
  #longestWaitAt: BucketName | undefined;
  #longestWaitMs = 0;
  #fromReserve: true | undefined;
  #renewal: Timer | undefined;

  constructor(
    options: AcquisitionOptions,
    ticket: Ticket,
    signal: CallerSignal,
    retry: Retry | undefined,
  ) {
    this.#options = options;
    this.#ticket = ticket;
    this.#tickets = ticketsOf(ticket);
    this.#signal = new LeavingSignal(signal);
    this.#retry = retry;
  }

  start(): Admission {
    const admission = this.#next();
    if (admission.kind !== 'waiting') return admission;
    const decision: WaitDecision | undefined = admission.decision && { onWaits: undefined };
    return {
      kind: 'waiting',
      outcome: this.#finish(admission, decision),
      ...(decision === undefined ? {} : { decision }),
    };
  }

  /** Acquires until a bucket refuses or makes the ticket wait. */
  #next(): Admission {
    const { ledger } = this.#options;
    for (;;) {
      const ticket = this.#tickets[this.#held.length];
      if (ticket === undefined) return this.#granted();
      const admission = ledger.acquire(ticket, this.#signal, this.#retry);
      if (admission.kind === 'shed') return this.#shed(admission, ticket.bucket);
      if (admission.kind === 'waiting') return this.#judged(admission);
      this.#hold(admission.grant);
    }
  }

  /** A ticket has to wait: if that cannot succeed at a later bucket, it leaves at once. */
  #judged(waiting: Admission & { kind: 'waiting' }): Admission {
    const { ledger, socketPermits } = this.#options;
    const refused = refusalOf(ledger, this.#following);
    if (refused === undefined) return waiting;
    this.#signal.leave();
    // The ledger may have granted it meanwhile.
    void waiting.outcome.then((outcome) => {
      if (outcome.kind !== 'granted') return;
      ledger.settle(outcome.grant, { kind: 'unsent' });
      if (outcome.grant.ticket.needsNoSocket === undefined) socketPermits.release();
    });
    this.#returnHeld();
    return refused;
  }

  /** The ticket at the buckets after the one that it asks now. */
  get #following(): readonly Ticket[] {
    return this.#tickets.slice(this.#held.length + 1);
  }

  async #finish(
    first: Admission & { kind: 'waiting' },
    decision: WaitDecision | undefined,
  ): Promise<Granted | Shed | Cancelled> {
    const { clock } = this.#options;
    let admission: Admission = first;
    while (admission.kind === 'waiting') {
      const since = clock.now();
      const { bucket } = this.#tickets[this.#held.length] ?? this.#ticket;
      this.#renewLater();
      if (decision !== undefined) {
        const report = (): void => decision.onWaits?.();
        if (admission.decision === undefined) report();
        else admission.decision.onWaits = report;
      }
      const outcome = await admission.outcome;
      if (outcome.kind === 'shed') return this.#shed(outcome, bucket);
      if (outcome.kind === 'cancelled') return this.#cancelled();
      const { grant } = outcome;
      const waitedMs = grant.waitedFor === 'nothing' ? 0 : clock.now() - since;
      if (waitedMs > this.#longestWaitMs) {
        this.#longestWaitAt = bucket;
        this.#longestWaitMs = waitedMs;
      }
      this.#hold(grant);
      // The caller can go between a grant and the next request.
      if (this.#held.length < this.#tickets.length && this.#signal.gone) return this.#cancelled();
      admission = this.#next();
    }
    this.#renewal?.cancel();
    return admission;
  }

  #hold(grant: Grant): void {
    this.#held.push(grant);
    this.#fromReserve ??= grant.fromReserve;
    // Many grants come at one moment where any of the buckets refilled.
    if (WAITS.indexOf(grant.waitedFor) > WAITS.indexOf(this.#waitedFor)) {
      this.#waitedFor = grant.waitedFor;
    }
  }

  #granted(): Granted {
    const { ledger, clock } = this.#options;
    const now = clock.now();
    const parts = this.#held.map((one) =>
      now - one.grantedAt > FRESH_MS ? ledger.renew(one) : one,
    );
    const [ticket, waitedFor, longestWaitAt] = [this.#ticket, this.#waitedFor, this.#longestWaitAt];
    const fromReserve = this.#fromReserve;
    const grant = new JointGrant(
      { ticket, grantedAt: now, waitedFor, longestWaitAt, fromReserve },
      parts,
    );
    return { kind: 'granted', grant };
  }

  /** `bucket` shed the ticket; if it would have to wait longer for a later one, that one counts. */
  #shed(shed: Shed, bucket: BucketName): Shed {
    const refused = refusalOf(this.#options.ledger, this.#following, refusedBy(bucket, shed));
    this.#returnHeld();
    return refused ?? shed;
  }

  #cancelled(): Cancelled {
    this.#returnHeld();
    return { kind: 'cancelled' };
  }

  /** The last one first, as each may let others take the next. */
  #returnHeld(): void {
    const { ledger } = this.#options;
    for (const grant of this.#held.toReversed()) ledger.settle(grant, { kind: 'unsent' });
    this.#held = [];
    this.#renewal?.cancel();
  }

  /** Renews what is held from time to time, through all the waits that follow. */
  #renewLater(): void {
    const { ledger, clock } = this.#options;
    if (this.#held.length === 0 || this.#renewal !== undefined) return;
    this.#renewal = clock.after(RENEW_MS, () => {
      this.#held = this.#held.map((grant) => ledger.renew(grant));
      this.#renewal = undefined;
      this.#renewLater();
    });
  }
}

/**
 * The caller's signal, with which the ticket can also leave by itself. A request that was sent already
 * has no caller that could let it leave.
 */
class LeavingSignal implements CallerSignal {
  readonly #signal: CallerSignal;
  #left = false;
  #listener: (() => void) | undefined;

  constructor(signal: CallerSignal) {
    this.#signal = signal;
  }

  get gone(): boolean {
    return this.#left || this.#signal.gone;
  }

  onGone(listener: () => void): RemoveListener {
    this.#listener = listener;
    const remove = this.#signal.onGone(listener, true);
    return () => {
      this.#listener = undefined;
      remove();
    };
  }

  /** The ticket waits at one bucket at a time, so there is one listener. */
  leave(): void {
    this.#left = true;
    this.#listener?.();
  }
}
