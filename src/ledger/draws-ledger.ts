import type { Clock, Timer } from '../util/clock.ts';
import {
  ticketsOf,
  type Admission,
  type BucketName,
  type BucketSnapshot,
  type BucketView,
  type CallerSignal,
  type Cancelled,
  type Grant,
  type Granted,
  type Ledger,
  type Outcome,
  type RemoveListener,
  type Retry,
  type Shed,
  type Ticket,
  type WaitDecision,
} from './ledger.ts';

export interface DrawsLedgerOptions {
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly socketPermits: { release(): void };
}

/** A request that was sent already. */
const NEVER_GONE: CallerSignal = { gone: false, onGone: () => () => undefined };

/** Settles a grant with one outcome for all its buckets, or one for each, in their order. */
export interface SettlesEach {
  settle(grant: Grant, outcome: Outcome | readonly Outcome[]): void;
  /**
   * Reports the outcome of a request for a bucket from which it spent without a grant. It counts if the
   * bucket has an operation to spare now; else the bucket's next answers correct it.
   */
  note(ticket: Ticket, outcome: Outcome): void;
}

/**
 * A ledger for requests that spend from several buckets. It acquires them one after another, in the
 * order of the ticket, and holds what it has: all requests have the same order, so no two wait for each
 * other. A grant that is held does not expire, and is returned when a later bucket refuses the request
 * or its caller has gone. Where a request has to wait, the buckets that follow are asked first whether
 * waiting can succeed there.
 *
 * A ticket of one bucket passes straight through.
 */
export class DrawsLedger implements Ledger, SettlesEach {
  readonly #options: DrawsLedgerOptions;
  readonly #ledger: Ledger;

  constructor(options: DrawsLedgerOptions) {
    this.#options = options;
    this.#ledger = options.ledger;
  }

  acquire(ticket: Ticket, signal: CallerSignal, retry?: Retry): Admission {
    if (ticket.others === undefined) return this.#ledger.acquire(ticket, signal, retry);
    return new Acquisition(this.#options, ticket, signal, retry).start();
  }

  settle(grant: Grant, outcome: Outcome | readonly Outcome[]): void {
    const isJoint = grant instanceof JointGrant;
    if (!isJoint && !isList(outcome)) return this.#ledger.settle(grant, outcome);
    const expected = isJoint ? ticketsOf(grant.ticket).length : 1;
    if (isList(outcome) && outcome.length !== expected) {
      throw new Error(`expected an outcome for each of ${expected} buckets, got ${outcome.length}`);
    }
    const parts = isJoint ? grant.takeParts() : [grant];
    for (const [i, part] of parts.entries()) {
      const one = isList(outcome) ? outcome[i] : outcome;
      if (one !== undefined) this.#ledger.settle(part, one);
    }
  }

  note(ticket: Ticket, outcome: Outcome): void {
    const now = this.#options.clock.now();
    const { others: _, ...alone } = ticket;
    const once: Ticket = { ...alone, deadlineAt: now, needsNoSocket: true };
    const admission = this.#ledger.acquire(once, NEVER_GONE);
    if (admission.kind === 'granted') this.#ledger.settle(admission.grant, outcome);
    if (admission.kind !== 'waiting') return;
    void admission.outcome.then((ended) => {
      if (ended.kind === 'granted') this.#ledger.settle(ended.grant, outcome);
    });
  }

  renew(grant: Grant): Grant {
    if (!(grant instanceof JointGrant)) return this.#ledger.renew(grant);
    return grant.with(grant.takeParts().map((part) => this.#ledger.renew(part)));
  }

  refusal(ticket: Ticket): Shed | undefined {
    return refusalOf(this.#ledger, ticketsOf(ticket));
  }

  view(bucketId: string): BucketView | undefined {
    return this.#ledger.view(bucketId);
  }

  snapshot(): BucketSnapshot[] {
    return this.#ledger.snapshot();
  }

  etaMs(bucketId: string): number | undefined {
    return this.#ledger.etaMs(bucketId);
  }

  pause(bucketId: string): boolean {
    return this.#ledger.pause(bucketId);
  }

  resume(bucketId: string): boolean {
    return this.#ledger.resume(bucketId);
  }

  drain(untilMs: number): void {
    this.#ledger.drain(untilMs);
  }

  close(): Promise<void> {
    return this.#ledger.close();
  }
}

function isList(outcome: Outcome | readonly Outcome[]): outcome is readonly Outcome[] {
  return Array.isArray(outcome);
}

/**
 * The refusal that stands for those of all these buckets, and for `first`: one that no time ends, else
 * the one with the latest time.
 */
function refusalOf(ledger: Ledger, tickets: readonly Ticket[], first?: Shed): Shed | undefined {
  let decisive = first;
  for (const ticket of tickets) {
    const refused = ledger.refusal(ticket);
    if (refused === undefined || !outweighs(refused, decisive)) continue;
    decisive = { ...refused, bucket: ticket.bucket };
  }
  return decisive;
}

function outweighs(refused: Shed, other: Shed | undefined): boolean {
  if (other === undefined) return true;
  if (other.code === 'cost-too-high') return false;
  return refused.code === 'cost-too-high' || refused.retryAfterMs > other.retryAfterMs;
}

/** A grant of each of a ticket's buckets. */
class JointGrant implements Grant {
  readonly ticket: Ticket;
  readonly grantedAt: number;
  readonly waitedFor: Grant['waitedFor'];
  readonly keptBy: BucketName | undefined;
  #parts: readonly Grant[];

  constructor(grant: Grant, parts: readonly Grant[]) {
    this.ticket = grant.ticket;
    this.grantedAt = grant.grantedAt;
    this.waitedFor = grant.waitedFor;
    this.keptBy = grant.keptBy;
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
    const { ticket, waitedFor, keptBy } = this;
    const grantedAt = parts[0]?.grantedAt ?? this.grantedAt;
    return new JointGrant({ ticket, grantedAt, waitedFor, keptBy }, parts);
  }
}

/** Well before a lease expires (LEASE_MS). */
const RENEW_MS = 5000;
/** A grant that is used later than this counts as given when it is used, so its answer has time. */
const FRESH_MS = 1000;

/** One ticket's way through its buckets. */
class Acquisition {
  readonly #options: DrawsLedgerOptions;
  readonly #ticket: Ticket;
  readonly #tickets: readonly Ticket[];
  readonly #signal: LeavingSignal;
  readonly #retry: Retry | undefined;
  #held: Grant[] = [];
  #waitedFor: Grant['waitedFor'] = 'nothing';
  #keptBy: BucketName | undefined;
  #keptMs = 0;
  #renewal: Timer | undefined;

  constructor(
    options: DrawsLedgerOptions,
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
      if (waitedMs > this.#keptMs) [this.#keptBy, this.#keptMs] = [bucket, waitedMs];
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
    // Many grants come at one moment where any of the buckets refilled.
    if (grant.waitedFor === 'budget' || this.#waitedFor === 'nothing') {
      this.#waitedFor = grant.waitedFor;
    }
  }

  #granted(): Granted {
    const { ledger, clock } = this.#options;
    const now = clock.now();
    const parts = this.#held.map((one) =>
      now - one.grantedAt > FRESH_MS ? ledger.renew(one) : one,
    );
    const [ticket, waitedFor, keptBy] = [this.#ticket, this.#waitedFor, this.#keptBy];
    const grant = new JointGrant({ ticket, grantedAt: now, waitedFor, keptBy }, parts);
    return { kind: 'granted', grant };
  }

  /** `bucket` shed the ticket; if it would have to wait longer for a later one, that one counts. */
  #shed(shed: Shed, bucket: BucketName): Shed {
    const refused = refusalOf(this.#options.ledger, this.#following, { ...shed, bucket });
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

/** The caller's signal, with which the ticket can also leave by itself. */
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
    const remove = this.#signal.onGone(listener);
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
