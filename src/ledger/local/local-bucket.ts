import type { ConfiguredLimit } from '../../budget/bucket.ts';
import { slotEntries } from '../../budget/slots.ts';
import { toObservation } from '../../rate-headers/answer.ts';
import type { Timer } from '../../util/clock.ts';
import type { MappedBucket } from '../bucket-map.ts';
import type { HeldGrants } from '../held-grants.ts';
import { nameInView, shedWhile, tooLate } from '../ledger.ts';
import type {
  Admission,
  BucketName,
  BucketOptions,
  BucketSnapshot,
  BucketView,
  CallerSignal,
  Cancelled,
  Grant,
  Granted,
  Outcome,
  Retry,
  Shed,
  Ticket,
  Waiting,
} from '../ledger.ts';
import {
  toLocalObservation,
  type TransferredGrant,
  type KnownBucket,
  type Waiter,
} from '../transfer.ts';
import { JUDGED_ANEW_MS, oldestWaitMs, waitingByCaller } from '../waiters.ts';
import { LocalBudget, type LocalLease } from './local-budget.ts';
import { LocalReserve } from './local-reserve.ts';
import { LocalQueue, type LocalWaiter } from './local-queue.ts';
import { NO_TURN, nextTurn, startOf, type Turn } from './local-turn.ts';

/** What all buckets of one local ledger have in common. */
export interface LocalLedgerState {
  /** `maxQueue` and `configuredLimit` may change while a bucket lives. */
  readonly options: BucketOptions;
  /** No ticket waits beyond this moment. */
  drainUntil: number;
  readonly grants: HeldGrants<HeldLease>;
  /** Buckets that could grant and found no free socket, in the order of request. */
  readonly starved: Set<LocalBucket>;
  /** No ticket waits in the bucket any more, so it may be idle. */
  readonly onEmpty: (bucket: LocalBucket) => void;
}

/** The lease of a grant, and the bucket that it belongs to. */
export interface HeldLease {
  readonly bucket: LocalBucket;
  readonly lease: LocalLease;
}

/** One bucket's budget and queue, with one timer that wakes both. */
export class LocalBucket implements MappedBucket<LocalBucket> {
  readonly #ledger: LocalLedgerState;
  #name: BucketName;
  readonly #budget: LocalBudget;
  /** What this replica learns of the bucket, for the ledger that this one stands in for. */
  readonly known: KnownBucket | undefined;
  /** The configured limit that the budget uses. */
  #configuredLimit: BucketOptions['configuredLimit'];
  /** Created with the first waiting ticket: of thousands of buckets only few have any. */
  #queue: LocalQueue | undefined;
  readonly #reserve: LocalReserve;
  /** Whether the ticket whose turn it is waits only because of the reserve. */
  #isKept = false;
  /** How many grants are not settled. */
  #held = 0;
  /** An operator withholds its grants. */
  #paused = false;
  #wake: Timer | undefined;
  #wakeAt = 0;

  account: MappedBucket<LocalBucket>['account'];
  isLinked = false;
  previous: LocalBucket | undefined;
  next: LocalBucket | undefined;

  /** `standsIn`: continues with what another ledger knew, at one of `replicas` replicas. */
  constructor(
    name: BucketName,
    ledger: LocalLedgerState,
    standsIn?: { readonly known: KnownBucket; readonly replicas: number },
  ) {
    const now = ledger.options.clock.now();
    this.#name = name;
    this.#ledger = ledger;
    this.#configuredLimit = name.configuredLimit ?? ledger.options.configuredLimit;
    this.#budget = new LocalBudget(now, this.#configuredLimit);
    this.#reserve = new LocalReserve(this.#budget, ledger.options);
    this.known = standsIn?.known;
    if (standsIn === undefined) return;
    const { lastReport, blockedUntil, own } = standsIn.known;
    const known = { reported: lastReport, blockedUntil, slots: slotEntries(own) };
    this.#budget.startShare(known, standsIn.replicas, now);
  }

  get name(): BucketName {
    return this.#name;
  }

  /** Whether no grant is held, no ticket waits, and it is not paused. */
  get idle(): boolean {
    return this.#held === 0 && !this.#paused && this.#waiting === 0;
  }

  acquire(ticket: Ticket, signal: CallerSignal, retry?: Retry): Admission {
    // A reload can change the limit that the settings state.
    this.#name = ticket.bucket;
    const now = this.#advance();
    const isParked = retry !== undefined && retry.notBefore > now;
    // A call may be older than its deadline by its first grant, but not by a further one.
    const isLate = retry !== undefined && this.#latest(ticket) <= now;
    const mayBeNext = this.#queued === 0 || this.#isKept || this.#mayPass(ticket, now);
    const isNext = mayBeNext && !isParked && !isLate && !this.#paused;
    if (isNext && !this.#isTooCostly(ticket)) {
      const start = startOf(ticket, this.#queue, this.#isKept, this.#budget, this.#reserve, now);
      if (start !== 'waits' && this.#takeSocket(ticket)) {
        return this.#grant(ticket, now, 'nothing', start === 'from-reserve');
      }
    }
    const refused = this.#refusal(ticket, now, retry);
    return refused ?? this.#wait(ticket, signal, now, retry);
  }

  refusal(ticket: Ticket): Shed | undefined {
    const now = this.#advance();
    const isNext = this.#queued === 0 && !this.#paused && !this.#isTooCostly(ticket);
    if (isNext && this.#budget.offer(now, ticket.cost) !== undefined) return undefined;
    return this.#refusal(ticket, now, undefined);
  }

  /** Keeps an unused grant, which counts as given now. Returns the one to use instead. */
  renew(grant: Grant, lease: LocalLease): Grant {
    const now = this.#advance();
    const renewed: Grant = { ...grant, grantedAt: now };
    const renewedLease = this.#budget.renew(lease, now);
    this.#ledger.grants.hold(renewed, { bucket: this, lease: renewedLease });
    // A canary that waits elsewhere tests nothing: another request can be the canary.
    if (this.#queued > 0) this.#serve(now);
    return renewed;
  }

  settle(lease: LocalLease, outcome: Outcome): void {
    this.#held--;
    const { clock, random, apiClock } = this.#ledger.options;
    const now = this.#advance();
    const before = this.#lastEta(now);
    switch (outcome.kind) {
      case 'answered': {
        const offset = apiClock.bounds(now, clock.wallMs());
        const observation = toObservation(outcome.answer, offset);
        this.#budget.answered(lease, observation, now, random);
        this.known?.learn(toLocalObservation(observation, offset), lease.cost, now, false);
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
    if (this.#queued === 0) return;
    this.#judgeIfLater(before, now);
    this.#serve(now);
  }

  view(): BucketView {
    const now = this.#advance();
    return {
      id: this.name.id,
      class: this.name.class,
      ...nameInView(this.name),
      ...this.#budget.view(now),
      waiting: this.#waiting,
      ...(this.#paused ? { paused: true } : {}),
    };
  }

  /** Milliseconds until the last waiting ticket can expect its grant. */
  get etaMs(): number | undefined {
    if (this.#waiting === 0) return undefined;
    const now = this.#advance();
    const eta = this.#lastEta(now);
    return eta === undefined ? undefined : Math.max(0, eta - now);
  }

  snapshot(): BucketSnapshot {
    const view = this.view();
    const now = this.#ledger.options.clock.now();
    const kept = this.#reserve.keptNow(now);
    const reserve = kept === 0 ? NONE_KEPT : { kept };
    // Most buckets are idle, and there may be thousands.
    if (view.waiting === 0) return { ...view, ...reserve, waitingHereByCaller: {} };
    const eta = this.#lastEta(now);
    const tickets = (this.#queue?.all ?? []).map(({ ticket }) => ticket);
    const oldest = oldestWaitMs(tickets, now);
    return {
      ...view,
      ...reserve,
      ...(eta === undefined ? {} : { etaMs: Math.max(0, eta - now) }),
      ...(oldest === undefined ? {} : { oldestWaitMs: oldest }),
      waitingHereByCaller: waitingByCaller(tickets),
    };
  }

  pause(): void {
    this.#paused = true;
    this.#cancelWake();
  }

  resume(): void {
    this.#paused = false;
    this.serve();
  }

  /** Judges all waiting tickets again, now that there is less time for them. */
  drain(): void {
    const { drainUntil } = this.#ledger;
    const now = this.#advance();
    this.#judge(now, () => drainUntil);
    this.#queue?.updateDeadlines();
    if (this.#waiting === 0) this.#becomeEmpty();
  }

  /** Forgets all waiting tickets, which get no outcome, and stops the timer. */
  handOver(): Waiter[] {
    this.#cancelWake();
    return this.#queue?.handOver() ?? [];
  }

  /** Continues with a grant of another ledger. */
  adopt({ grant, kind, cost }: TransferredGrant): void {
    const lease = this.#budget.addLease(kind, grant.grantedAt, cost);
    this.#held++;
    this.#ledger.grants.hold(grant, { bucket: this, lease });
  }

  /** Continues with a ticket that waited in another ledger; {@link serve} then grants what it can. */
  adoptWaiter(waiter: Waiter): void {
    this.#ownQueue.add(waiter);
  }

  /** Grants what the budget has now. */
  serve(): void {
    this.#serve(this.#advance());
  }

  /** Grants one ticket, as it is this bucket's turn at a socket. Returns whether one was free. */
  serveOne(): boolean {
    const { starved } = this.#ledger;
    const now = this.#advance();
    this.#reserve.update(now);
    const turn = this.#turn(now);
    if (turn.kind === 'next') {
      if (!this.#takeSocket(turn.waiter.ticket)) return false;
      this.#grantTo(turn, 'socket', now);
    }
    starved.delete(this);
    if (this.#turn(now).kind === 'next') starved.add(this);
    else this.#setWake(now);
    return true;
  }

  /** Sheds all waiting tickets. */
  close(): void {
    const { clock } = this.#ledger.options;
    const now = clock.now();
    for (const waiter of this.#queue?.all ?? []) {
      this.#queue?.remove(waiter, this.#tooLate(waiter.ticket, now, now));
    }
    this.#cancelWake();
  }

  /** Brings the budget up to now, which it returns. */
  #advance(): number {
    const { apiClock, clock, configuredLimit: ofAll } = this.#ledger.options;
    const { configuredLimit = ofAll } = this.#name;
    const now = clock.now();
    if (configuredLimit !== this.#configuredLimit) {
      // Several rules may state the same limit of a bucket.
      if (configuredLimit !== undefined && !isSameLimit(configuredLimit, this.#configuredLimit)) {
        this.#budget.setConfiguredLimit(configuredLimit);
      }
      this.#configuredLimit = configuredLimit;
    }
    this.#budget.advance(now, apiClock.bounds(now, clock.wallMs()));
    return now;
  }

  // What waiting tickets can expect, and which of them are shed.

  /** How many operations the waiting tickets cost. */
  get #operations(): number {
    return this.#queue?.operations(this.#budget.callCost) ?? 0;
  }

  /** When the `rank`th waiting operation can expect its grant; unknown during a pause. */
  #eta(rank: number, now: number): number | undefined {
    return this.#paused ? undefined : this.#budget.eta(rank, now);
  }

  /** When the last queued ticket can expect its grant; `undefined` when none is queued. */
  #lastEta(now: number): number | undefined {
    return this.#queued === 0 ? undefined : this.#eta(this.#operations, now);
  }

  /** The last moment at which this ticket's attempt may start, here. */
  #latest(ticket: Ticket): number {
    return Math.min(ticket.deadlineAt, this.#ledger.drainUntil);
  }

  /** Sheds a ticket for which waiting cannot succeed. */
  #refusal(ticket: Ticket, now: number, retry: Retry | undefined): Shed | undefined {
    const latest = this.#latest(ticket);
    if (latest <= now) return this.#tooLate(ticket, now, now);
    const { callCost } = this.#budget;
    const { cost = callCost } = ticket;
    if (this.#isTooCostly(ticket)) return this.#tooCostly(now);
    if (retry !== undefined && retry.notBefore > latest) {
      return this.#tooLate(ticket, retry.notBefore, now);
    }
    const { maxQueue } = this.#ledger.options;
    if (retry !== undefined && retry.notBefore > now && this.#waiting >= maxQueue) {
      return shedWhile(this.#paused, 'queue-full', retry.notBefore - now);
    }
    // The owners for whom something is kept may be others by now.
    this.#reserve.update(now);
    // Reading all flows is worth its cost only when the last rank would be too late.
    const last = this.#eta(this.#operations + cost, now);
    if (last === undefined || last <= latest) return undefined;
    if (this.#startsInShare(ticket, this.#reserve.waitingInShare(ticket), now)) return undefined;
    const item = { ...ticket, paid: retry !== undefined };
    const eta = this.#eta((this.#queue?.ahead(item, callCost) ?? 0) + cost, now);
    return eta === undefined || eta <= latest ? undefined : this.#tooLate(ticket, eta, now);
  }

  /** Whether its caller's stated share lets a ticket start in time, after `before` of its operations. */
  #startsInShare(ticket: Ticket, before: number, now: number): boolean {
    if (!this.#reserve.isInShare(ticket, now, before)) return false;
    const eta = this.#budget.etaInShare(before + (ticket.cost ?? this.#budget.callCost), now);
    return eta === undefined || eta <= this.#latest(ticket);
  }

  /**
   * Sheds the tickets that cannot succeed by a forecast that an answer made later. Without it, tickets
   * that arrived before anything was known would wait in vain.
   */
  #judgeIfLater(before: number | undefined, now: number): void {
    const last = this.#lastEta(now);
    if (last === undefined || last <= (this.#queue?.firstDueAt ?? Infinity)) return;
    if (before === undefined || last > before + JUDGED_ANEW_MS) {
      this.#judge(now, (ticket) => this.#latest(ticket));
    }
  }

  /** Sheds the queued tickets that cannot be granted by the moment that `latest` returns. */
  #judge(now: number, latest: (ticket: Ticket) => number): void {
    const { callCost } = this.#budget;
    this.#queue?.judge(callCost, (ticket, ahead) => {
      const eta = this.#eta(ahead + (ticket.cost ?? callCost), now);
      const isLate = eta !== undefined && eta > latest(ticket);
      const isHopeless = isLate && !this.#startsInShare(ticket, 0, now);
      return isHopeless ? this.#tooLate(ticket, eta, now) : undefined;
    });
  }

  #tooLate(ticket: Ticket, eta: number, now: number): Shed {
    return tooLate(ticket, this.#ledger.drainUntil, eta - now, this.#paused);
  }

  #isTooCostly({ cost }: Ticket): boolean {
    return this.#budget.isTooCostly(cost ?? this.#budget.callCost);
  }

  #tooCostly(now: number): Shed {
    // A share is no limit of the API.
    const limit = this.known === undefined ? this.#budget.view(now).limit : undefined;
    return { kind: 'shed', code: 'cost-too-high', retryAfterMs: 0, limit };
  }

  // Tickets that wait.

  get #waiting(): number {
    return this.#queue?.size ?? 0;
  }

  get #queued(): number {
    return this.#queue?.queued ?? 0;
  }

  get #ownQueue(): LocalQueue {
    return (this.#queue ??= new LocalQueue({
      clock: this.#ledger.options.clock,
      reserve: this.#reserve,
      latest: (ticket) => this.#latest(ticket),
      tooLate: (ticket) => {
        const now = this.#advance();
        return this.#tooLate(ticket, this.#eta(1, now) ?? now, now);
      },
      onUnparked: () => this.#queuedAnother(this.#advance()),
      onEmpty: () => this.#becomeEmpty(),
    }));
  }

  #wait(ticket: Ticket, signal: CallerSignal, now: number, retry?: Retry): Waiting {
    const outcome = new Promise<Granted | Shed | Cancelled>((resolve) => {
      const notBefore = retry?.notBefore ?? 0;
      const isRetry = retry !== undefined;
      const isQueued = this.#ownQueue.add({ ticket, signal, resolve, isRetry, notBefore });
      if (isQueued) this.#queuedAnother(now);
    });
    return { kind: 'waiting', outcome };
  }

  #queuedAnother(now: number): void {
    const queue = this.#ownQueue;
    const last = queue.size > this.#ledger.options.maxQueue ? queue.last : undefined;
    if (last !== undefined) {
      const eta = this.#lastEta(now) ?? now;
      queue.remove(last, shedWhile(this.#paused, 'queue-full', Math.max(0, eta - now)));
    }
    this.#serve(now);
  }

  /** No ticket is queued: nothing may keep the bucket from being forgotten. */
  #becomeEmpty(): void {
    this.#cancelWake();
    this.#ledger.starved.delete(this);
    this.#ledger.onEmpty(this);
  }

  // Grants, and the timer for the next one.

  /** Grants what the budget has now, and sets the timer for the next ticket. */
  #serve(now: number): void {
    const { starved } = this.#ledger;
    const waitedFor = starved.has(this) ? 'socket' : this.#isKept ? 'reserve' : 'budget';
    this.#reserve.update(now);
    for (let turn = this.#turn(now); turn.kind === 'next'; turn = this.#turn(now)) {
      if (!this.#takeSocket(turn.waiter.ticket)) {
        starved.add(this);
        return;
      }
      this.#grantTo(turn, waitedFor, now);
    }
    this.#setWake(now);
  }

  /** Finds the ticket that can be granted now. */
  #turn(now: number): Turn {
    const head = this.#next(now);
    const turn =
      head === undefined || this.#paused
        ? NO_TURN
        : nextTurn(this.#ownQueue, head, this.#budget, this.#reserve, now);
    this.#isKept = turn.kind === 'kept';
    return turn;
  }

  /** The ticket whose turn it is. Those that turn out to cost more than the limit are shed. */
  #next(now: number): LocalWaiter | undefined {
    for (;;) {
      const waiter = this.#queue?.head;
      if (waiter === undefined || !this.#isTooCostly(waiter.ticket)) return waiter;
      this.#queue?.remove(waiter, this.#tooCostly(now));
    }
  }

  /** Whether a new ticket goes before all queued ones, by the stated share of its caller. */
  #mayPass(ticket: Ticket, now: number): boolean {
    return this.#reserve.mayPass(ticket, this.#queue?.head?.cost, now);
  }

  /** Whether the ticket needs no socket here, or has one now. */
  #takeSocket({ needsNoSocket }: Ticket): boolean {
    return needsNoSocket === true || this.#ledger.options.socketPermits.take();
  }

  #grantTo(
    { waiter, fromReserve }: Turn & { kind: 'next' },
    waited: Grant['waitedFor'],
    now: number,
  ): void {
    // The reserve did not keep a ticket waiting that is granted from it.
    const waitedFor = fromReserve && waited === 'reserve' ? 'budget' : waited;
    this.#queue?.grant(waiter, (ticket) => this.#grant(ticket, now, waitedFor, fromReserve));
  }

  #grant(
    ticket: Ticket,
    now: number,
    waitedFor: Grant['waitedFor'],
    fromReserve: boolean,
  ): Granted {
    const lease = this.#budget.grant(now, ticket.cost);
    this.#reserve.granted(ticket, now);
    this.#held++;
    const grant: Grant = fromReserve
      ? { ticket, grantedAt: now, waitedFor, fromReserve: true }
      : { ticket, grantedAt: now, waitedFor };
    this.#ledger.grants.hold(grant, { bucket: this, lease });
    return { kind: 'granted', grant };
  }

  #setWake(now: number): void {
    if (this.#queued === 0 || this.#paused) return this.#becomeEmpty();
    const at = this.#budget.nextWakeAt(now);
    // A timer that fires too early only sets the next one.
    if (this.#wake !== undefined && this.#wakeAt <= at) return;
    this.#wake?.cancel();
    this.#wakeAt = at;
    this.#wake = this.#ledger.options.clock.after(at - now, () => {
      this.#wake = undefined;
      this.serve();
    });
  }

  #cancelWake(): void {
    this.#wake?.cancel();
    this.#wake = undefined;
  }
}

const NONE_KEPT: Pick<BucketSnapshot, 'kept'> = {};

function isSameLimit(one: ConfiguredLimit, other: ConfiguredLimit | undefined): boolean {
  return one.limit === other?.limit && one.periodMs === other.periodMs;
}
