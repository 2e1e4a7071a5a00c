import { Bucket, type Lease } from '../../budget/bucket.ts';
import type { Timer } from '../../util/clock.ts';
import { observe } from '../../rate-headers/observation.ts';
import type { BucketOptions } from '../bucket-options.ts';
import type { Waiter } from '../transfer.ts';
import type { HeldGrants } from '../held-grants.ts';
import type { KnownBucket } from '../known-bucket.ts';
import { localTimes } from '../local-times.ts';
import type {
  Admission,
  Retry,
  BucketName,
  BucketSnapshot,
  BucketView,
  Grant,
  Granted,
  CallerSignal,
  Cancelled,
  Outcome,
  Shed,
  Ticket,
  Waiting,
} from '../ledger.ts';
import { tooLate } from '../too-late.ts';
import { waitingByCaller } from '../waiting-by-caller.ts';
import { LocalQueue } from './queue.ts';

/** What all buckets of one ledger have in common. */
export interface LocalCommons {
  /** Some of them change while a bucket lives. */
  readonly options: BucketOptions;
  /** Nothing waits beyond this moment. */
  drainUntil: number;
  readonly grants: HeldGrants<HeldHere>;
  /** Buckets that could grant and found no socket free, in the order in which they asked. */
  readonly starved: Set<LocalBucket>;
}

/** A grant that is out. */
export interface HeldHere {
  readonly bucket: LocalBucket;
  readonly lease: Lease;
}

/** One bucket's budget, its queue, and the one alarm that serves both. */
export class LocalBucket {
  readonly name: BucketName;
  readonly #commons: LocalCommons;
  readonly #budget: Bucket;
  /** What this replica learns of the bucket, for the ledger that it stands in for. */
  readonly known: KnownBucket | undefined;
  /** What the budget was last told to believe. */
  #belief: BucketOptions['belief'];
  /** Made when somebody first waits: there may be thousands of buckets, and few in which any do. */
  #line: LocalQueue | undefined;
  /** An operator holds its grants back. */
  #paused = false;
  #wake: Timer | undefined;
  #wakeAt = 0;

  /** `standsIn`: it goes on with what another ledger knew, at one of so many replicas. */
  constructor(
    name: BucketName,
    commons: LocalCommons,
    standsIn?: { readonly known: KnownBucket; readonly replicas: number },
  ) {
    const now = commons.options.clock.now();
    this.name = name;
    this.#commons = commons;
    this.#belief = commons.options.belief;
    this.#budget = new Bucket(now, this.#belief);
    this.known = standsIn?.known;
    if (standsIn === undefined) return;
    const { said, blockedUntil, own } = standsIn.known;
    this.#budget.startShare(
      { reported: said, blockedUntil, slots: own.entries() },
      standsIn.replicas,
      now,
    );
  }

  /** Nothing is out, nothing waits, and nobody paused it. */
  get idle(): boolean {
    return !this.#budget.hasLeases && !this.#paused && this.#waiting === 0;
  }

  acquire(ticket: Ticket, signal: CallerSignal, retry?: Retry): Admission {
    const now = this.#advance();
    const parked = retry !== undefined && retry.notBefore > now;
    // A call may be older than its deadline by its first grant, but not by a further one.
    const late = retry !== undefined && this.#latest(ticket) <= now;
    const free = this.#queued === 0 && !parked && !late && !this.#paused;
    if (free && this.#budget.offer(now) !== undefined) {
      if (this.#commons.options.places.take()) return this.#grant(ticket, now, 'nothing');
    }
    const refused = this.#refusal(ticket, now, retry);
    return refused ?? this.#wait(ticket, signal, now, retry);
  }

  settle(lease: Lease, outcome: Outcome): void {
    const { clock, random, apiClock } = this.#commons.options;
    const now = this.#advance();
    switch (outcome.kind) {
      case 'answered': {
        const offset = apiClock.bounds(now, clock.wallMs());
        const observation = observe(outcome.answer, offset);
        this.#budget.answered(lease, observation, now, random);
        this.known?.learn(localTimes(observation, offset), now, false);
        break;
      }
      case 'lost':
        this.#budget.lost(lease, now);
        break;
      case 'unsent':
        this.#budget.unsent(lease);
        break;
      default:
        outcome satisfies never;
    }
    if (this.#queued > 0) this.#serve(now);
  }

  view(): BucketView {
    const now = this.#advance();
    return {
      id: this.name.id,
      class: this.name.class,
      ...this.#budget.view(now),
      waiting: this.#waiting,
      ...(this.#paused ? { paused: true } : {}),
    };
  }

  snapshot(): BucketSnapshot {
    const view = this.view();
    // Most buckets are idle, and there may be thousands.
    if (view.waiting === 0) return { ...view, waitingByCaller: {} };
    const now = this.#commons.options.clock.now();
    const eta = this.#eta(view.waiting, now);
    return {
      ...view,
      ...(eta === undefined ? {} : { etaMs: Math.max(0, eta - now) }),
      waitingByCaller: waitingByCaller(this.#line?.all ?? []),
    };
  }

  pause(): void {
    this.#paused = true;
    this.#forgetAlarm();
  }

  resume(): void {
    this.#paused = false;
    this.serve();
  }

  /** Asks anew for everything that waits, now that there is less time for it. */
  drain(): void {
    const { drainUntil } = this.#commons;
    const now = this.#advance();
    this.#line?.judgeAnew((ticket, rank) => {
      const eta = this.#eta(rank, now);
      return eta !== undefined && eta > drainUntil ? this.#tooLate(ticket, eta, now) : undefined;
    });
  }

  /** Gives away what waits, and rings no more; nobody is told anything. */
  handOver(): Waiter[] {
    this.#forgetAlarm();
    return this.#line?.handOver() ?? [];
  }

  /** Goes on with a grant that another ledger gave. */
  adopt(grant: Grant, kind: Lease['kind']): void {
    const lease = this.#budget.addLease(kind, grant.grantedAt);
    this.#commons.grants.hold(grant, { bucket: this, lease });
  }

  /** Goes on with one that waited elsewhere; {@link serve} then grants what may go. */
  takeIn(from: Waiter): void {
    this.#lineUp().add(from);
  }

  /** Grants what may go now. */
  serve(): void {
    this.#serve(this.#advance());
  }

  /** A socket came free and it is this bucket's turn. Answers whether one was free. */
  serveOne(): boolean {
    const { options, starved } = this.#commons;
    const now = this.#advance();
    if (this.#wants(now)) {
      if (!options.places.take()) return false;
      this.#grantHead(now);
    }
    starved.delete(this);
    if (this.#wants(now)) starved.add(this);
    else this.#setAlarm(now);
    return true;
  }

  /** Sheds what waits. */
  close(): void {
    const { clock } = this.#commons.options;
    const now = clock.now();
    for (const waiter of this.#line?.all ?? []) {
      this.#line?.remove(waiter, this.#tooLate(waiter.ticket, now, now));
    }
    this.#forgetAlarm();
  }

  get #waiting(): number {
    return this.#line?.size ?? 0;
  }

  get #queued(): number {
    return this.#line?.queued ?? 0;
  }

  #lineUp(): LocalQueue {
    return (this.#line ??= new LocalQueue({
      clock: this.#commons.options.clock,
      latest: (ticket) => this.#latest(ticket),
      tooLate: (ticket) => {
        const now = this.#advance();
        return this.#tooLate(ticket, this.#eta(1, now) ?? now, now);
      },
      onUnparked: () => this.#queuedOneMore(this.#advance()),
      onNobody: () => this.#rest(),
    }));
  }

  /** Brings the budget up to now, which it returns. */
  #advance(): number {
    const { apiClock, clock, belief } = this.#commons.options;
    const now = clock.now();
    if (belief !== this.#belief && belief !== undefined) this.#budget.setConfiguredLimit(belief);
    this.#belief = belief;
    this.#budget.advance(now, apiClock.bounds(now, clock.wallMs()));
    return now;
  }

  #grant(ticket: Ticket, now: number, waitedFor: Grant['waitedFor']): Granted {
    const lease = this.#budget.grant(now);
    const grant: Grant = { ticket, grantedAt: now, waitedFor };
    this.#commons.grants.hold(grant, { bucket: this, lease });
    return { kind: 'granted', grant };
  }

  /** When the `rank`th ticket can expect its grant; nobody knows how long a pause lasts. */
  #eta(rank: number, now: number): number | undefined {
    return this.#paused ? undefined : this.#budget.eta(rank, now);
  }

  /** The last moment at which this ticket's attempt may start, here. */
  #latest(ticket: Ticket): number {
    return Math.min(ticket.deadlineAt, this.#commons.drainUntil);
  }

  /** Refuses at once what waiting cannot help. */
  #refusal(ticket: Ticket, now: number, retry: Retry | undefined): Shed | undefined {
    const latest = this.#latest(ticket);
    if (latest <= now) return this.#tooLate(ticket, now, now);
    if (retry !== undefined && retry.notBefore > latest) {
      return this.#tooLate(ticket, retry.notBefore, now);
    }
    const { maxQueue } = this.#commons.options;
    if (retry !== undefined && retry.notBefore > now && this.#waiting >= maxQueue) {
      return { kind: 'shed', code: 'queue-full', retryAfterMs: retry.notBefore - now };
    }
    // The walk over the flows is only worth its cost when the last place would be too late.
    const last = this.#eta(this.#queued + 1, now);
    if (last === undefined || last <= latest) return undefined;
    const eta = this.#eta((this.#line?.ahead(ticket) ?? 0) + 1, now);
    return eta === undefined || eta <= latest ? undefined : this.#tooLate(ticket, eta, now);
  }

  #tooLate(ticket: Ticket, eta: number, now: number): Shed {
    return tooLate(ticket, this.#commons.drainUntil, eta - now);
  }

  #wait(ticket: Ticket, signal: CallerSignal, now: number, retry?: Retry): Waiting {
    const outcome = new Promise<Granted | Shed | Cancelled>((tell) => {
      const notBefore = retry?.notBefore ?? 0;
      const isRetry = retry !== undefined;
      const isQueued = this.#lineUp().add({ ticket, signal, tell, isRetry, notBefore });
      if (isQueued) this.#queuedOneMore(now);
    });
    return { kind: 'waiting', outcome };
  }

  #queuedOneMore(now: number): void {
    const line = this.#lineUp();
    const last = line.size > this.#commons.options.maxQueue ? line.last : undefined;
    if (last !== undefined) {
      const eta = this.#eta(line.queued, now) ?? now;
      const retryAfterMs = Math.max(0, eta - now);
      line.remove(last, { kind: 'shed', code: 'queue-full', retryAfterMs });
    }
    this.#serve(now);
  }

  /** Nobody waits for a grant: the bucket may be forgotten, and must not be held by what it was. */
  #rest(): void {
    this.#forgetAlarm();
    this.#commons.starved.delete(this);
  }

  /** Grants what may go now, and sets the alarm for what comes next. */
  #serve(now: number): void {
    const { options, starved } = this.#commons;
    while (this.#wants(now)) {
      if (!options.places.take()) {
        starved.add(this);
        return;
      }
      this.#grantHead(now);
    }
    this.#setAlarm(now);
  }

  #wants(now: number): boolean {
    return !this.#paused && this.#queued > 0 && this.#budget.offer(now) !== undefined;
  }

  #grantHead(now: number): void {
    const waitedFor = this.#commons.starved.has(this) ? 'socket' : 'budget';
    this.#line?.tellNext((ticket) => this.#grant(ticket, now, waitedFor));
  }

  #setAlarm(now: number): void {
    if (this.#queued === 0 || this.#paused) return this.#rest();
    const at = this.#budget.nextWakeAt(now);
    // An alarm that rings too early only looks and sets the next one.
    if (this.#wake !== undefined && this.#wakeAt <= at) return;
    this.#wake?.cancel();
    this.#wakeAt = at;
    this.#wake = this.#commons.options.clock.after(at - now, () => {
      this.#wake = undefined;
      this.serve();
    });
  }

  #forgetAlarm(): void {
    this.#wake?.cancel();
    this.#wake = undefined;
  }
}
