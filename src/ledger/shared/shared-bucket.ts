import { DEFAULT_SPREAD } from '../../budget/reserve.ts';
import { addSlots, clearSlots } from '../../budget/slots.ts';
import { toObservation } from '../../rate-headers/answer.ts';
import type { MappedBucket } from '../bucket-map.ts';
import { isQuota, nameInView, shedWhile, tooLate } from '../ledger.ts';
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
  LedgerObserver,
  Outcome,
  Retry,
  Shed,
  ShedCode,
  Ticket,
  WaitDecision,
} from '../ledger.ts';
import {
  KnownBucket,
  toLocalObservation,
  type LocalObservation,
  type Transfer,
} from '../transfer.ts';
import { GrantBook, type GrantReport } from './grant-book.ts';
import { LastNumbers } from './last-numbers.ts';
import { SharedQueue, type SharedWaiter } from './shared-queue.ts';
import {
  StepLoop,
  type Collected,
  type StepHead,
  type StepLoopOptions,
  type StepSource,
  type Urgency,
} from './step-loop.ts';
import type { StepScheduler } from './step-scheduler.ts';
import { JUDGED_ANEW_MS, oldestWaitMs, waitingByCaller } from '../waiters.ts';
import type { Ids } from './ids.ts';
import {
  remember,
  toBelief,
  toKnown,
  toSettled,
  toShares,
  toTicket,
  toUsedBy,
  type StepBatch,
  type StepDone,
  type StepGranted,
  type StepMessage,
  type StepShed,
} from './wire.ts';

export interface SharedBucketOptions extends BucketOptions, StepLoopOptions {
  readonly replica: string;
  readonly observer?: Pick<LedgerObserver, 'step'> | undefined;
}

/** What all buckets of one shared ledger have in common at this replica. */
export interface SharedLedgerState {
  /** `maxQueue` and `configuredLimit` may change while a bucket lives. */
  readonly options: SharedBucketOptions;
  readonly ids: Ids;
  readonly scheduler: StepScheduler;
  /** No ticket waits beyond this moment. */
  drainUntil: number;
  /** Something ended in the bucket, which may be idle now. */
  readonly onRelease: (bucket: SharedBucket) => void;
}

/**
 * One bucket as one replica sees it: the tickets that wait and the grants held here, and what its
 * steps report of them to the shared state.
 */
export class SharedBucket implements StepSource<CollectedStep>, MappedBucket<SharedBucket> {
  readonly #ledger: SharedLedgerState;
  readonly #options: SharedBucketOptions;
  #known: KnownBucket;
  readonly #waiting: SharedQueue;
  readonly #grants: GrantBook;
  readonly #steps: StepLoop<CollectedStep>;
  /** Sockets that the script believes are free here. */
  #freeByScript = 0;
  readonly #numbers: LastNumbers;
  #paused = false;
  /** What tickets wait for, by the last step. */
  #waitsFor: 'socket' | 'budget' = 'budget';
  /** A settlement since the last step changes something for others, who should learn of it now. */
  #isUrgent = false;

  account: MappedBucket<SharedBucket>['account'];
  isLinked = false;
  previous: SharedBucket | undefined;
  next: SharedBucket | undefined;

  constructor(name: BucketName, owner: string, ledger: SharedLedgerState) {
    const { options, ids, scheduler } = ledger;
    this.#ledger = ledger;
    this.#options = options;
    this.#known = new KnownBucket(name, owner);
    this.#grants = new GrantBook(ids);
    this.#numbers = new LastNumbers(options.clock);
    this.#steps = new StepLoop(this, name.id, options, scheduler);
    this.#waiting = new SharedQueue({
      clock: options.clock,
      latest: (ticket) => this.#latest(ticket),
      answerMs: 2 * options.timeoutMs,
      tooLate: (ticket) => this.#tooLate(ticket, this.#numbers.refillInMs),
      onChange: () => {
        this.#steps.schedule();
        // A ticket that no step had carried leaves nothing to report.
        this.#ledger.onRelease(this);
      },
    });
  }

  get name(): BucketName {
    return this.#known.name;
  }

  /** Whether no ticket waits, no grant is held, and nothing is left to report. */
  get idle(): boolean {
    const kept = this.#waiting.size + this.#grants.size;
    return this.#unreported + kept === 0 && !this.#steps.stepping && !this.#paused;
  }

  acquire(ticket: Ticket, signal: CallerSignal, retry?: Retry): Admission {
    const now = this.#options.clock.now();
    const latest = this.#latest(ticket);
    // A call may be older than its deadline by its first grant: the step grants or sheds it at once.
    const mayStart = retry === undefined ? this.#ledger.drainUntil > now : latest > now;
    if (!mayStart || (retry !== undefined && retry.notBefore > latest)) {
      return this.#tooLate(ticket, retry === undefined ? 0 : retry.notBefore - now);
    }
    if (!this.#isStated(ticket)) this.#grants.countCall(now);
    // A reload can change the limit that the settings state.
    this.#known.name = ticket.bucket;
    const isFirst = this.#waiting.queued === 0 && (retry?.notBefore ?? 0) <= now;
    const grant = isFirst ? this.#grantPrefetched(ticket, now) : undefined;
    if (grant !== undefined) return { kind: 'granted', grant };
    // Tickets that are kept out of the queue take as much room as those in it.
    const waiting = Math.max(this.#waiting.size, this.#numbers.waiting + this.#waiting.parked);
    if (retry !== undefined && retry.notBefore > now && waiting >= this.#options.maxQueue) {
      return shedWhile(this.#paused, 'queue-full', retry.notBefore - now);
    }
    // The shared queue has its own bound; this one is for tickets that have not reached it yet.
    if (this.#waiting.size >= 2 * this.#options.maxQueue) {
      return shedWhile(this.#paused, 'queue-full', this.#numbers.refillInMs);
    }
    const decision: WaitDecision = { onWaits: undefined };
    const outcome = new Promise<Granted | Shed | Cancelled>((resolve) => {
      const notBefore = retry?.notBefore ?? 0;
      const isRetry = retry !== undefined;
      const waiter = { ticket, signal, resolve, isRetry, notBefore, decision };
      this.#waiting.add(waiter, this.#ledger.ids.next(), false);
    });
    this.#steps.schedule();
    return { kind: 'waiting', outcome, decision };
  }

  settle(grant: Grant, outcome: Outcome): void {
    const { clock, apiClock, random } = this.#options;
    const now = clock.now();
    let observed: LocalObservation | undefined;
    if (outcome.kind === 'answered') {
      const offset = apiClock.bounds(now, clock.wallMs());
      observed = toLocalObservation(toObservation(outcome.answer, offset), offset);
    }
    const lease = this.#grants.settle(grant, outcome.kind, observed, random());
    if (observed !== undefined) this.#known.learn(observed, lease.cost, now, true);
    const isThrottle = observed?.status === 429;
    // While no ticket waits for what this changes, the next step reports it at no cost.
    this.#isUrgent ||= lease.kind !== 'regular' || observed === undefined || isThrottle;
    this.#isUrgent ||= this.#numbers.waiting > 0;
    if (this.#isUrgent || this.#grants.unreported >= MAX_GATHERED) this.#steps.schedule();
    else this.#steps.linger();
  }

  /** Keeps an unused grant, which counts as given now. Returns the one to use instead. */
  renew(grant: Grant): Grant {
    const renewed = this.#grants.renew(grant, this.#options.clock.now());
    this.#steps.schedule();
    return renewed;
  }

  /**
   * Why a new ticket would be shed, by the last step: only what cannot change before its deadline. The
   * step that carries the ticket judges it by its turn.
   */
  refusal(ticket: Ticket): Shed | undefined {
    const { limit = Infinity, blockedForMs: waitMs, callCost } = this.#numbers;
    if ((ticket.cost ?? callCost) > limit) {
      return { kind: 'shed', code: 'cost-too-high', retryAfterMs: 0, limit };
    }
    const allowedMs = this.#latest(ticket) - this.#options.clock.now();
    return waitMs > 0 && waitMs > allowedMs ? this.#tooLate(ticket, waitMs) : undefined;
  }

  /** The bucket's numbers by the last step; `waiting` counts the tickets of all replicas. */
  view(): BucketView {
    return {
      id: this.name.id,
      class: this.name.class,
      ...nameInView(this.name),
      ...this.#numbers.view,
      // The shared queue does not hold tickets that may not queue yet.
      waiting: this.#numbers.waiting + this.#waiting.parked,
      ...(this.#paused ? { paused: true } : {}),
    };
  }

  /** Milliseconds until the last waiting ticket can expect its grant. */
  get etaMs(): number | undefined {
    return this.#numbers.etaMs;
  }

  snapshot(): BucketSnapshot {
    const { etaMs, kept = 0 } = this.#numbers;
    const tickets = this.#waiting.all.map(({ ticket }) => ticket);
    const oldest = oldestWaitMs(tickets, this.#options.clock.now());
    return {
      ...this.view(),
      ...(etaMs === undefined ? {} : { etaMs }),
      ...(kept === 0 ? {} : { kept }),
      ...(oldest === undefined ? {} : { oldestWaitMs: oldest }),
      waitingHereByCaller: waitingByCaller(tickets),
    };
  }

  /** Takes a step although nothing happened here, to learn what others did. */
  step(): void {
    this.#steps.request();
  }

  /** Receives what another replica's step published for this one. */
  receive(message: StepMessage): void {
    if (message.epoch !== this.#steps.epoch || this.#steps.closed) return;
    this.#steps.countSheds(message.shed.length);
    for (const entry of message.shed) this.#shed(entry);
    this.#freeByScript = message.free;
    if (message.recall === true) this.#returnPrefetched();
    if (message.granted.length === 0) return this.#ledger.onRelease(this);
    if (!this.#isInTouch) return this.step();
    for (const entry of message.granted) this.#receiveGrant(entry, true);
    // Others may use at once what could not be used here; grants in use are confirmed later.
    if (this.#steps.isDue) this.#steps.schedule();
    else this.#steps.requestWithin(CONFIRM_MS);
    this.#lookForSocket();
  }

  /** Offers no socket to this bucket until {@link resume}: tickets of this replica wait. */
  pause(): void {
    this.#paused = true;
    this.step();
  }

  resume(): void {
    this.#paused = false;
    this.step();
  }

  /** Judges all waiting tickets again, now that there is less time for them. */
  drain(): void {
    const removed = this.#waiting.empty({ reportsGone: true });
    for (const waiter of removed) this.#waiting.add(waiter, this.#ledger.ids.next(), false);
    this.#steps.schedule();
  }

  handOver(): Transfer {
    this.#steps.close();
    this.#ledger.scheduler.forget(this.#steps);
    const waiting = this.#waiting.empty({ reportsGone: false });
    const { lastReport, name, since } = this.#known;
    const unshared = this.#grants.unshared(this.#steps.underWay?.grants.settled ?? []);
    if (lastReport !== undefined) {
      const remaining = Math.max(0, lastReport.remaining - unshared);
      this.#known.lastReport = { ...lastReport, remaining };
    }
    // No later answer reports what is spent of a quota, so the shared state has to receive all of it.
    if (name.configuredLimit?.isOwn === true && unshared > 0) {
      const { periodMs } = name.configuredLimit;
      addSlots(since, this.#options.clock.now() + periodMs, unshared, periodMs);
    }
    return { waiting, held: this.#grants.handOver(), known: [this.#known] };
  }

  /** Continues with what another ledger held; {@link step} then declares it. */
  takeOver({ waiting, held, known }: Transfer): void {
    for (const bucket of known) this.#known = bucket;
    for (const one of held) this.#grants.adopt(one);
    for (const waiter of waiting) {
      this.#waiting.add(waiter, waiter.number ?? this.#ledger.ids.next(), true);
    }
  }

  /** Sheds all waiting tickets, reports that to the shared state, and closes. */
  async close(): Promise<void> {
    for (const waiter of this.#waiting.all) {
      this.#waiting.end(waiter, this.#tooLate(waiter.ticket, 0));
    }
    this.#grants.recall();
    await this.#steps.finish();
  }

  // What a step carries, and what its reply changes.

  get urgency(): Urgency {
    // With prefetched leases no call waits for a step, and answers gather.
    const gathers = this.#grants.prefetched > 0 && !this.#isUrgent;
    if (this.#waiting.unreported > 0) return 'now';
    if (this.#grants.unreported >= (gathers ? MAX_GATHERED : 1)) return 'now';
    const { unreported, prefetched, unreportedUses } = this.#grants;
    return unreported + prefetched + unreportedUses > 0 ? 'soon' : 'none';
  }

  get needsSocket(): boolean {
    return this.#waiting.queued > 0 && !this.#paused;
  }

  collect(head: StepHead): CollectedStep {
    const { clock, timeoutMs, socketPermits, maxQueue, replica, spread, shares } = this.#options;
    const { configuredLimit = this.#options.configuredLimit } = this.#known.name;
    const { ids } = this.#ledger;
    const now = clock.now();
    if (this.#paused) this.#grants.recall();
    const grants = this.#grants.report(head.declares, MAX_SETTLED, now);
    const tickets = this.#waiting.nextTickets(MAX_TICKETS);
    const gone = this.#waiting.nextGone(MAX_SETTLED);
    this.#isUrgent = false;
    const { lineage, revision } = this.#known;
    const batch: StepBatch = {
      ...head,
      bucket: this.name.id,
      replica,
      lineage,
      revision,
      free: this.#paused ? 0 : socketPermits.free,
      maxQueue: Math.max(0, maxQueue - this.#waiting.parked),
      ...(spread === undefined || spread === DEFAULT_SPREAD ? {} : { spread }),
      ...(shares === undefined || isQuota(this.name) ? {} : { shares: toShares(shares) }),
      ...(configuredLimit === undefined ? {} : { belief: toBelief(configuredLimit) }),
      ...(head.declares ? { known: toKnown(this.#known, now) } : {}),
      held: grants.held,
      settled: grants.settled.map((one) => toSettled(one, now, timeoutMs)),
      stock: grants.prefetched,
      wants: grants.wants,
      ...(grants.usedBy === undefined || spread === 0 ? {} : { usedBy: toUsedBy(grants.usedBy) }),
      gone: gone.map((number) => ids.idOf(number)),
      tickets: tickets.map((waiter) => {
        const id = ids.idOf(waiter.number);
        return toTicket(id, waiter, waiter.hasWaited, this.#latest(waiter.ticket), now);
      }),
      ...(tickets.some(({ isRepeated }) => isRepeated) ? { repeats: true } : {}),
    };
    return { batch, grants, tickets, gone };
  }

  apply({ batch, tickets }: CollectedStep, reply: StepDone, sentAt: number): void {
    const now = this.#options.clock.now();
    const known = this.#known;
    this.#options.observer?.step(now - sentAt, tickets.length);
    if (reply.lineage !== known.lineage) this.#grants.changeLineage();
    const [hadTickets, before] = [this.#numbers.waiting > 0, this.#numbers.lastEtaAt];
    known.lineage = reply.lineage;
    known.revision = reply.revision;
    if (batch.declares) clearSlots(known.since);
    this.#numbers.receive(reply.numbers, now);
    this.#freeByScript = reply.free;
    remember(known, reply.numbers, now);
    for (const entry of reply.granted) this.#receiveGrant(entry, false);
    this.#waitsFor = this.#nextWaitsFor(reply);
    this.#grants.receivePrefetched(reply.stock);
    for (const entry of reply.shed) this.#shed(entry);
    this.#waiting.markWaited(tickets);
    if (hadTickets) this.#judgeIfLater(before);
    if (this.#waiting.reportToJudge(MAX_TICKETS, this.#ledger.ids)) this.#steps.schedule();
    if (reply.recall === true) this.#returnPrefetched();
    this.#servePrefetched();
    this.#planNext(reply);
    this.#lookForSocket();
    this.#ledger.onRelease(this);
  }

  restore(failed: CollectedStep | undefined): void {
    this.#grants.restore(failed?.grants);
    this.#waiting.restore(failed?.gone ?? []);
  }

  // Sheds.

  #latest(ticket: Ticket): number {
    return Math.min(ticket.deadlineAt, this.#ledger.drainUntil);
  }

  #tooLate(ticket: Ticket, retryAfterMs: number): Shed {
    return tooLate(ticket, this.#ledger.drainUntil, retryAfterMs, this.#paused);
  }

  /**
   * Judges the tickets that may not succeed by a forecast that became later: by an answer, or by tickets
   * of other flows, which may go first. Without it, tickets that arrived before anything was known would
   * wait in vain. A ticket is judged by its own place, so later tickets of its flow do not matter.
   */
  #judgeIfLater(before: number | undefined): void {
    const last = this.#numbers.lastEtaAt;
    if (last === undefined || last <= this.#waiting.firstDueAt) return;
    if (before !== undefined && last <= before + JUDGED_ANEW_MS) return;
    this.#waiting.judgeAgain(last);
  }

  #shed([id, code, retryAfterMs]: StepShed): void {
    const waiter = this.#waiting.remove(this.#ledger.ids.numberOf(id));
    if (waiter === undefined) return;
    this.#waiting.resolve(waiter, this.#shedOutcome(waiter.ticket, code, retryAfterMs));
  }

  #shedOutcome(ticket: Ticket, code: ShedCode, retryAfterMs: number): Shed {
    if (code === 'wait-too-long') return this.#tooLate(ticket, retryAfterMs);
    if (code === 'queue-full') return shedWhile(this.#paused, code, retryAfterMs);
    return { kind: 'shed', code, retryAfterMs, limit: this.#numbers.limit };
  }

  // Grants of steps.

  /** Gives a step's grant to the ticket that it is for. `isOffer`: another replica's step. */
  #receiveGrant(entry: StepGranted, isOffer: boolean): void {
    const { clock } = this.#options;
    const { ids } = this.#ledger;
    const [id, , , , , reserve] = entry;
    const waiter = this.#waiting.remove(ids.numberOf(id));
    if (waiter === undefined) {
      // It was granted by message and by step, or its caller had gone before the grant arrived.
      if (!this.#grants.has(id)) this.#returnGrant(entry);
      return;
    }
    if (this.#paused || !this.#takeSocket(waiter.ticket)) {
      this.#returnGrant(entry);
      this.#waiting.requeue(waiter, ids.next());
      this.#freeByScript = 0;
      return;
    }
    const { ticket } = waiter;
    const waitsFor = reserve === 'released' ? 'reserve' : this.#waitsFor;
    const waitedFor = waiter.hasWaited || isOffer ? waitsFor : 'nothing';
    const grant: Grant =
      reserve === 'used'
        ? { ticket, grantedAt: clock.now(), waitedFor, fromReserve: true }
        : { ticket, grantedAt: clock.now(), waitedFor };
    this.#grants.hold(grant, entry, { isOffer });
    this.#waiting.resolve(waiter, { kind: 'granted', grant });
  }

  #returnGrant(entry: StepGranted): void {
    this.#grants.returnGrant(entry, this.#options.clock.now());
    this.#steps.markDue();
  }

  /** Whether the ticket needs no socket here, or has one now. */
  #takeSocket({ needsNoSocket }: Ticket): boolean {
    return needsNoSocket === true || this.#options.socketPermits.take();
  }

  // Prefetched leases.

  /** Grants at once with a prefetched lease; `undefined` when that is not possible. */
  #grantPrefetched(ticket: Ticket, now: number): Grant | undefined {
    if (!this.#grants.hasUsable || this.#paused || !this.#isInTouch) return undefined;
    if (this.#isStated(ticket)) return undefined;
    // A prefetched lease is one operation.
    if ((ticket.cost ?? this.#numbers.callCost) !== 1) return undefined;
    // A socket that became free is for the tickets that wait for it; a step decides which is next.
    const needsSocket = ticket.needsNoSocket === undefined;
    if (needsSocket && this.#ledger.scheduler.hasStarved) return undefined;
    if (!this.#takeSocket(ticket)) return undefined;
    const grant: Grant = { ticket, grantedAt: now, waitedFor: 'nothing' };
    this.#grants.holdPrefetched(grant);
    if (this.#grants.isLow && !this.#steps.stepping) this.#steps.request();
    else this.#steps.linger();
    return grant;
  }

  /** Tickets that arrived while a step was under way need no step if it brought leases for them. */
  #servePrefetched(): void {
    const now = this.#options.clock.now();
    let waiter = this.#waiting.firstUnreported;
    while (waiter !== undefined) {
      const grant = this.#grantPrefetched(waiter.ticket, now);
      if (grant === undefined) return;
      this.#waiting.remove(waiter.number);
      this.#waiting.resolve(waiter, { kind: 'granted', grant });
      waiter = this.#waiting.firstUnreported;
    }
  }

  #returnPrefetched(): void {
    this.#grants.recall();
    // A step under way may bring more of them.
    if (this.#grants.prefetched > 0 || this.#steps.stepping) this.#steps.request();
  }

  /** Whether a share is stated for the caller. Steps count what it spends, so it uses no prefetched lease. */
  #isStated({ caller }: Ticket): boolean {
    return this.#options.shares?.parts.has(caller) === true;
  }

  /**
   * Whether the last step is so recent that what it granted is certainly valid. Offers and prefetched
   * leases last two seconds, and were granted after the step was sent. Later, this process may have
   * been suspended, and only a further step shows what is still valid.
   */
  get #isInTouch(): boolean {
    return this.#options.clock.now() - this.#steps.lastSentAt < FRESH_MS;
  }

  // When the next step is taken.

  /** How much the next step has to report. */
  get #unreported(): number {
    return this.#grants.unreported + this.#waiting.unreported;
  }

  #nextWaitsFor({ wakeIn }: StepDone): 'socket' | 'budget' {
    // A resumed bucket grants everything at once, as after a reset.
    if (this.#paused) return 'budget';
    // If only a socket is missing, the script does not know when one becomes free.
    if (wakeIn === undefined) return 'socket';
    // The step was full: the other tickets wait for what they waited for before.
    return wakeIn > 0 ? 'budget' : this.#waitsFor;
  }

  #planNext({ wakeIn = Infinity, declare }: StepDone): void {
    if (this.#waiting.queued > 0) this.#steps.requestWithin(Math.min(HEARTBEAT_MS, wakeIn));
    // Unused prefetched leases are returned, unless a new epoch ends them at once.
    const keepsPrefetched = this.#grants.prefetched > 0 && declare !== true;
    if (keepsPrefetched) this.#steps.requestWithin(PREFETCH_IDLE_MS);
    // The use of a prefetched lease is reported even if no answer comes.
    if (this.#grants.unreportedUses > 0) this.#steps.linger();
  }

  /** The script grants nothing to this replica while it believes that no socket is free here. */
  #lookForSocket(): void {
    if (this.#freeByScript > 0 || !this.#steps.needsSocket) return;
    if (this.#options.socketPermits.free > 0) this.step();
    else this.#ledger.scheduler.awaitSocket(this.#steps);
  }
}

interface CollectedStep extends Collected {
  readonly grants: GrantReport;
  readonly tickets: readonly SharedWaiter[];
  readonly gone: readonly number[];
}

const MAX_TICKETS = 256;
const MAX_SETTLED = 1024;
/** While a ticket waits, a step at least this often returns what lost messages reported. */
const HEARTBEAT_MS = 1000;
/** How old the last step may be for an offer to be used without a step. */
const FRESH_MS = 1500;
const CONFIRM_MS = 500;
const PREFETCH_IDLE_MS = 100;
/** Answers that gather before a step reports them, while no call needs a step. */
const MAX_GATHERED = 64;
