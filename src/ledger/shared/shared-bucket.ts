import type { EndOfTurn } from '../../util/clock.ts';
import { observe } from '../../rate-headers/observation.ts';
import type { BucketOptions } from '../bucket-options.ts';
import { GrantBook, type GrantsTold } from './grant-book.ts';
import type { Transfer } from '../transfer.ts';
import type { Ids } from './ids.ts';
import { KnownBucket } from '../known-bucket.ts';
import { localTimes, type LocalObservation } from '../local-times.ts';
import type { Admission, Retry, BucketName, Grant, Outcome } from '../ledger.ts';
import type {
  Granted,
  CallerSignal,
  LedgerObserver,
  Cancelled,
  Shed,
  ShedCode,
  Ticket,
} from '../ledger.ts';
import { remember, toKnown, toSettled, toTicket } from './step-batch.ts';
import type {
  StepBatch,
  StepDone,
  StepGranted,
  StepMessage,
  StepNumbers,
  StepShed,
} from './wire.ts';
import { StepLoop, type Load, type StepHead } from './step-loop.ts';
import { tooLate } from '../too-late.ts';
import { SharedQueue, type RemoteWaiter } from './queue.ts';

export interface SharedBucketOptions extends BucketOptions {
  readonly replica: string;
  readonly timeoutMs: number;
  /** Runs one step; resolves to its reply as text. */
  readonly step: (bucketId: string, batch: string) => Promise<unknown>;
  /** Greater each time, over all buckets. */
  readonly nextEpoch: () => number;
  readonly ids: Ids;
  /** Nothing waits beyond this moment. */
  readonly drainUntil: () => number;
  /** A step failed. The bucket tries again by itself unless it is handed over. */
  readonly onTrouble: (error: Error) => void;
  /** Whether a step may be taken now; when not, {@link SharedBucket.proceed} is called later. */
  readonly mayStep: (bucket: SharedBucket) => boolean;
  /** A step that might be taken is over. */
  readonly stepOver: () => void;
  /** Tickets wait and no socket is free: {@link SharedBucket.step} when one is. */
  readonly onStarved: (bucket: SharedBucket) => void;
  /** Whether the next socket that comes free is some bucket's already. */
  readonly someStarve: () => boolean;
  /** What one turn of the event loop brings goes with one step. */
  readonly atEndOfTurn: EndOfTurn;
  readonly observer?: Pick<LedgerObserver, 'step'> | undefined;
}

/**
 * One bucket as one replica sees it: what waits and what is held here, and what the steps say that
 * keep the shared state informed.
 */
export class SharedBucket {
  readonly #options: SharedBucketOptions;
  #known: KnownBucket;
  readonly #waiting: SharedQueue;
  readonly #grants: GrantBook;
  readonly #steps: StepLoop<Carried>;
  /** Sockets that the script believes are free here. */
  #freeByScript = 0;
  #numbers: StepNumbers = { uncertainty: 0, leases: 0, waiting: 0 };
  #numbersAt = 0;
  #paused = false;
  /** What settled since the last step changes something for others, who should hear of it now. */
  #isUrgent = false;

  constructor(name: BucketName, options: SharedBucketOptions) {
    this.#options = options;
    this.#known = new KnownBucket(name);
    this.#waiting = new SharedQueue({
      clock: options.clock,
      latest: (ticket) => this.#latest(ticket),
      answerMs: 2 * options.timeoutMs,
      tooLate: (ticket) => this.#tooLate(ticket, this.#guessMs()),
      onNews: () => this.#steps.send(),
    });
    this.#grants = new GrantBook({
      clock: options.clock,
      places: options.places,
      ids: options.ids,
      waiting: this.#waiting,
      someStarve: options.someStarve,
      isPaused: () => this.#paused,
      isInTouch: () => this.#isInTouch,
      onStockUsed: (isLow) => {
        if (isLow && !this.stepping) this.#steps.take();
        else this.#steps.linger();
      },
      onGivenBack: () => this.#steps.want(),
    });
    this.#steps = new StepLoop({
      clock: options.clock,
      timeoutMs: options.timeoutMs,
      atEndOfTurn: options.atEndOfTurn,
      run: (batch) => options.step(name.id, batch),
      nextEpoch: options.nextEpoch,
      hasNews: () => this.#untold + this.#grants.inStock + this.#grants.fromStock > 0,
      isPressing: () => this.#presses(),
      mayStep: () => options.mayStep(this),
      stepOver: options.stepOver,
      load: (head) => this.#load(head),
      apply: (carried, done, sentAt) => this.#apply(carried, done, sentAt),
      applied: (done) => this.#applied(done),
      revoke: (carried) => this.#revoke(carried),
      onTrouble: options.onTrouble,
    });
  }

  get name(): BucketName {
    return this.#known.name;
  }

  /** Whether nothing waits, is held, or is still to be told. */
  get idle(): boolean {
    const here = this.#waiting.size + this.#grants.size;
    return this.#untold + here === 0 && !this.stepping && !this.#paused;
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** Tickets here that may not queue yet; the shared queue knows nothing of them. */
  get parked(): number {
    return this.#waiting.size - this.#waiting.queued;
  }

  /** Whether a step is under way. */
  get stepping(): boolean {
    return this.#steps.underWay !== undefined;
  }

  /** Whether a ticket is here that could use a socket. */
  get wantsPlace(): boolean {
    return this.#waiting.queued > 0 && !this.#paused && !this.#steps.closed;
  }

  get tickets(): Ticket[] {
    return this.#waiting.all.map(({ ticket }) => ticket);
  }

  /** The numbers of the last step, and how old they are. */
  get numbers(): { readonly numbers: StepNumbers; readonly ageMs: number } {
    return { numbers: this.#numbers, ageMs: this.#options.clock.now() - this.#numbersAt };
  }

  acquire(ticket: Ticket, signal: CallerSignal, retry?: Retry): Admission {
    const now = this.#options.clock.now();
    const latest = this.#latest(ticket);
    // A call may be older than its deadline by its first grant: the step grants or sheds it at once.
    const mayStart = retry === undefined ? this.#options.drainUntil() > now : latest > now;
    if (!mayStart || (retry !== undefined && retry.notBefore > latest)) {
      return this.#tooLate(ticket, retry === undefined ? 0 : retry.notBefore - now);
    }
    this.#grants.called(now);
    const isFirst = this.#waiting.queued === 0 && (retry?.notBefore ?? 0) <= now;
    const grant = isFirst ? this.#grants.grantFromStock(ticket, now) : undefined;
    if (grant !== undefined) return { kind: 'granted', grant };
    // What is kept out of the queue takes as much room as what is in it.
    const waiting = Math.max(this.#waiting.size, this.#numbers.waiting + this.parked);
    if (retry !== undefined && retry.notBefore > now && waiting >= this.#options.maxQueue) {
      return { kind: 'shed', code: 'queue-full', retryAfterMs: retry.notBefore - now };
    }
    // The shared queue has its own bound; this one is for what has not got there yet.
    if (this.#waiting.size >= 2 * this.#options.maxQueue) {
      return { kind: 'shed', code: 'queue-full', retryAfterMs: this.#guessMs() };
    }
    const outcome = new Promise<Granted | Shed | Cancelled>((tell) => {
      const notBefore = retry?.notBefore ?? 0;
      const waiter = { ticket, signal, tell, isRetry: retry !== undefined, notBefore };
      this.#waiting.add(waiter, this.#options.ids.next(), false);
    });
    this.#steps.send();
    return { kind: 'waiting', outcome };
  }

  settle(grant: Grant, outcome: Outcome): void {
    const { clock, apiClock, random } = this.#options;
    const now = clock.now();
    let said: LocalObservation | undefined;
    if (outcome.kind === 'answered') {
      const offset = apiClock.bounds(now, clock.wallMs());
      said = localTimes(observe(outcome.answer, offset), offset);
    }
    const lease = this.#grants.settle(grant, outcome.kind, said, random());
    if (said !== undefined) this.#known.learn(said, now, true);
    const refused = said?.status === 429;
    // While nobody waits for what this changes, it goes with the next step for free.
    this.#isUrgent ||= lease.kind !== 'slot' || said === undefined || refused;
    this.#isUrgent ||= this.#numbers.waiting > 0;
    if (this.#isUrgent || this.#grants.untold >= MOST_GATHERED) this.#steps.send();
    else this.#steps.linger();
  }

  /** Takes a step although nothing happened here: to hear what did elsewhere. */
  step(): void {
    this.#steps.take();
  }

  /** Takes the step that had to wait for others, if it is still wanted; says whether it did. */
  proceed(): boolean {
    return this.#steps.proceed();
  }

  /** Something that another replica's step published for us. */
  hear(message: StepMessage): void {
    if (message.epoch !== this.#steps.epoch || this.#steps.closed) return;
    this.#steps.heardOfSheds(message.shed.length);
    for (const entry of message.shed) this.#shed(entry);
    this.#freeByScript = message.free;
    if (message.recall === true) this.#giveBackStock();
    if (message.granted.length === 0) return;
    if (!this.#isInTouch) return this.step();
    this.#take(message.granted, true);
    // What could not be used here others may use now; what was taken is confirmed in time.
    if (this.#steps.isDue) this.#steps.send();
    else this.#steps.takeWithin(CONFIRM_MS);
    this.#lookForPlaces();
  }

  /** Has no sockets for this bucket until {@link resume}: its tickets here wait, others' do not. */
  pause(): void {
    this.#paused = true;
    this.step();
  }

  resume(): void {
    this.#paused = false;
    this.step();
  }

  /** Asks anew for everything that waits, now that there is less time for it. */
  drain(): void {
    for (const waiter of this.#waiting.empty({ leaves: true })) {
      this.#waiting.add(waiter, this.#options.ids.next(), false);
    }
    this.#steps.send();
  }

  handOver(): Transfer {
    this.#steps.close();
    const waiting = this.#waiting.empty({ leaves: false });
    const { said } = this.#known;
    if (said !== undefined) {
      const unshared = this.#grants.unshared(this.#steps.underWay?.told.leases.settled ?? []);
      this.#known.said = { ...said, remaining: Math.max(0, said.remaining - unshared) };
    }
    return { waiting, held: this.#grants.handOver(), known: [this.#known] };
  }

  /** Goes on with what another ledger held; {@link step} then declares it. */
  takeOver({ waiting, held, known }: Transfer): void {
    for (const bucket of known) this.#known = bucket;
    for (const { grant, kind } of held) this.#grants.adopt(grant, kind);
    for (const waiter of waiting) {
      this.#waiting.add(waiter, waiter.number ?? this.#options.ids.next(), true);
    }
  }

  /** Sheds what waits, tells the shared state of it, and ends. */
  async close(): Promise<void> {
    for (const waiter of this.#waiting.all) {
      this.#waiting.leave(waiter, this.#tooLate(waiter.ticket, 0));
    }
    this.#grants.recall();
    await this.#steps.finish();
  }

  /** How much the next step has to tell. */
  get #untold(): number {
    return this.#grants.untold + this.#waiting.untold;
  }

  /** While there is stock no call waits for a step, and answers gather. */
  #presses(): boolean {
    const gathers = this.#grants.inStock > 0 && !this.#isUrgent;
    return this.#waiting.untold > 0 || this.#grants.untold >= (gathers ? MOST_GATHERED : 1);
  }

  #latest(ticket: Ticket): number {
    return Math.min(ticket.deadlineAt, this.#options.drainUntil());
  }

  #tooLate(ticket: Ticket, retryAfterMs: number): Shed {
    return tooLate(ticket, this.#options.drainUntil(), retryAfterMs);
  }

  /** About how long until there is budget again, by the last numbers. */
  #guessMs(): number {
    const { numbers, ageMs } = this.numbers;
    return Math.max(0, (numbers.blockedFor ?? numbers.resetIn ?? ageMs) - ageMs);
  }

  #take(granted: readonly StepGranted[], isOffer: boolean): void {
    for (const entry of granted) if (!this.#grants.take(entry, isOffer)) this.#freeByScript = 0;
  }

  #giveBackStock(): void {
    this.#grants.recall();
    // A step under way may bring more.
    if (this.#grants.inStock > 0 || this.stepping) this.#steps.take();
  }

  /**
   * Whether the last step is so recent that what it gave still stands. It was given later than the
   * step was sent, for two seconds; where that is long ago, we may have slept, and only a step can say.
   */
  get #isInTouch(): boolean {
    return this.#options.clock.now() - this.#steps.lastSentAt < FRESH_MS;
  }

  #shed([id, code, retryAfterMs]: StepShed): void {
    const waiter = this.#waiting.take(this.#options.ids.numberOf(id));
    if (waiter === undefined) return;
    this.#waiting.tell(waiter, this.#shedOutcome(waiter.ticket, code, retryAfterMs));
  }

  #shedOutcome(ticket: Ticket, code: ShedCode, retryAfterMs: number): Shed {
    return code === 'queue-full'
      ? { kind: 'shed', code, retryAfterMs }
      : this.#tooLate(ticket, retryAfterMs);
  }

  #load(head: StepHead): Carried {
    const { clock, timeoutMs, places, maxQueue, belief, replica, ids } = this.#options;
    const now = clock.now();
    const told = this.#grants.tell(head.declares, MOST_SETTLED, now);
    const tickets = this.#waiting.nextTickets(MOST_TICKETS);
    const gone = this.#waiting.nextGone(MOST_SETTLED);
    this.#isUrgent = false;
    const { lineage, revision } = this.#known;
    const batch: StepBatch = {
      ...head,
      bucket: this.name.id,
      replica,
      lineage,
      revision,
      free: this.#paused ? 0 : places.free,
      maxQueue: Math.max(0, maxQueue - this.parked),
      ...(belief === undefined ? {} : { belief: [belief.limit, belief.periodMs] }),
      ...(head.declares ? { known: toKnown(this.#known, 0, now) } : {}),
      held: told.leases.held,
      settled: told.leases.settled.map((one) => toSettled(one, now, timeoutMs)),
      stock: told.stock,
      wants: told.wants,
      gone: gone.map((number) => ids.idOf(number)),
      tickets: tickets.map((waiter) => {
        const id = ids.idOf(waiter.number);
        return toTicket(id, waiter, waiter.hasWaited, this.#latest(waiter.ticket), now);
      }),
    };
    return { batch, told, tickets, gone };
  }

  #apply({ batch, tickets }: Carried, done: StepDone, sentAt: number): void {
    const { clock } = this.#options;
    const known = this.#known;
    this.#options.observer?.step(clock.now() - sentAt, tickets.length);
    if (done.lineage !== known.lineage) this.#grants.changeLineage();
    known.lineage = done.lineage;
    known.revision = done.revision;
    if (batch.declares) known.since.clear();
    this.#numbers = done.numbers;
    this.#numbersAt = clock.now();
    this.#freeByScript = done.free;
    remember(known, done.numbers, this.#numbersAt);
    this.#take(done.granted, false);
    this.#grants.heard(done);
    for (const entry of done.shed) this.#shed(entry);
    this.#waiting.haveWaited(tickets);
    if (done.recall === true) this.#giveBackStock();
    this.#grants.serveFromStock();
  }

  #applied({ wakeIn = Infinity }: StepDone): void {
    if (this.#waiting.queued > 0) this.#steps.takeWithin(Math.min(HEARTBEAT_MS, wakeIn));
    // What nobody calls for goes back, and what was used is told of even when no answer comes.
    if (this.#grants.inStock > 0) this.#steps.takeWithin(STOCK_IDLE_MS);
    if (this.#grants.fromStock > 0) this.#steps.linger();
    this.#lookForPlaces();
  }

  #revoke(carried: Carried | undefined): void {
    this.#grants.revoke(carried?.told);
    this.#waiting.tellAnew(carried?.gone ?? []);
  }

  /** The script grants us nothing while it believes that no socket is free here. */
  #lookForPlaces(): void {
    if (this.#freeByScript > 0 || !this.wantsPlace) return;
    if (this.#options.places.free > 0) this.step();
    else this.#options.onStarved(this);
  }
}

interface Carried extends Load {
  readonly told: GrantsTold;
  readonly tickets: readonly RemoteWaiter[];
  readonly gone: readonly number[];
}

const MOST_TICKETS = 256;
const MOST_SETTLED = 1024;
/** While anything waits, a step at least this often returns what messages lost. */
const HEARTBEAT_MS = 1000;
/** How old the last step may be for an offer to be taken without asking. */
const FRESH_MS = 1500;
const CONFIRM_MS = 500;
const STOCK_IDLE_MS = 100;
/** Answers that a step tells of, while calls need none. */
const MOST_GATHERED = 64;
