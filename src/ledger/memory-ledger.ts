import { Bucket, type Lease } from '../core/bucket.ts';
import type { ClockOffset } from '../core/clock-offset.ts';
import type { Chance, Clock, Timer } from '../core/clock.ts';
import { FairQueue, type Queued, type Turn } from '../core/fair-queue.ts';
import { observe } from '../core/observation.ts';
import { Roll, type RollItem } from '../core/roll.ts';
import { BucketMap } from './bucket-map.ts';
import { HeldGrants } from './held-grants.ts';
import type { Handover, HeldGrant, Succession, Waiter } from './handover.ts';
import { KnownBucket } from './known-bucket.ts';
import { localTimes } from './local-times.ts';
import type {
  Admission,
  Again,
  BucketName,
  BucketSnapshot,
  BucketView,
  Grant,
  Granted,
  Leaving,
  Ledger,
  Left,
  Outcome,
  Places,
  Shed,
  Ticket,
  Waiting,
} from './ledger.ts';
import { waitingByCaller } from './waiting-by-caller.ts';

export interface MemoryLedgerOptions {
  readonly clock: Clock;
  readonly chance: Chance;
  /** What is known of the API's clock; whoever reads the answers keeps it. */
  readonly apiClock: ClockOffset;
  readonly places: Places;
  /** Waiting tickets per bucket. */
  readonly maxQueue: number;
  /** What to believe of an API that reports no limit; another one holds for old buckets too. */
  readonly belief?: { readonly limit: number; readonly periodMs: number } | undefined;
  /**
   * Whether it stands in for the shared ledger: over how many replicas each budget is divided, and
   * what it learns is kept for when the other comes back.
   */
  readonly standIn?: { readonly replicas: () => number } | undefined;
  /** Buckets kept; beyond them idle ones are forgotten, the longest unused first. */
  readonly maxBuckets?: number;
}

/** The ledger in this process: nothing to install, nothing shared. Grants at once when it can. */
export class MemoryLedger implements Ledger, Succession {
  readonly #options: MemoryLedgerOptions;
  readonly #entries: BucketMap<Entry>;
  readonly #grants = new HeldGrants<Held>();
  /** Buckets that could grant and found no socket free, in the order in which they asked. */
  readonly #starved = new Set<Entry>();
  #drainUntil = Number.POSITIVE_INFINITY;

  constructor(options: MemoryLedgerOptions) {
    this.#options = options;
    this.#entries = new BucketMap({ most: options.maxBuckets, isIdle });
    options.places.onFree(() => this.#serveStarved());
  }

  acquire(ticket: Ticket, leaving: Leaving, again?: Again): Admission {
    const now = this.#options.clock.now();
    const entry = this.#entryFor(ticket.bucket, now);
    this.#advance(entry, now);
    const parked = again !== undefined && again.notBefore > now;
    // A call may be older than its deadline by its first grant, but not by a further one.
    const late = again !== undefined && this.#latest(ticket) <= now;
    const free = entry.queue.size === 0 && !parked && !late && !entry.paused;
    if (free && entry.bucket.offer(now) !== undefined) {
      if (this.#options.places.take()) return this.#grant(entry, ticket, now, 'nothing');
    }
    const refused = this.#refusal(entry, ticket, now, again);
    return refused ?? this.#wait(entry, ticket, leaving, now, again);
  }

  settle(grant: Grant, outcome: Outcome): void {
    const { entry, lease } = this.#grants.take(grant);
    const { clock, chance, apiClock } = this.#options;
    const now = clock.now();
    this.#advance(entry, now);
    switch (outcome.kind) {
      case 'answered': {
        const observation = observe(outcome.answer, apiClock.bounds(now, clock.wallMs()));
        entry.bucket.answered(lease, observation, now, chance);
        entry.known?.learn(
          localTimes(observation, apiClock.bounds(now, clock.wallMs())),
          now,
          false,
        );
        break;
      }
      case 'lost':
        entry.bucket.lost(lease, now);
        break;
      case 'unsent':
        entry.bucket.unsent(lease);
        break;
      default:
        outcome satisfies never;
    }
    if (entry.queue.size > 0) this.#serve(entry, now);
  }

  view(bucketId: string): BucketView | undefined {
    const entry = this.#entries.get(bucketId);
    if (entry === undefined) return undefined;
    const now = this.#options.clock.now();
    this.#advance(entry, now);
    return {
      id: entry.name.id,
      class: entry.name.class,
      ...entry.bucket.view(now),
      waiting: entry.queue.size + entry.parked.size,
      ...(entry.paused ? { paused: true } : {}),
    };
  }

  snapshot(): BucketSnapshot[] {
    const snapshots: BucketSnapshot[] = [];
    for (const [id, entry] of this.#entries) {
      const view = this.view(id);
      if (view === undefined) continue;
      // Most buckets are idle, and there may be thousands.
      if (view.waiting === 0) {
        snapshots.push({ ...view, waitingByCaller: {} });
        continue;
      }
      const now = this.#options.clock.now();
      const eta = this.#eta(entry, view.waiting, now);
      snapshots.push({
        ...view,
        ...(eta === undefined ? {} : { etaMs: Math.max(0, eta - now) }),
        waitingByCaller: waitingByCaller([...entry.queue.tickets(), ...entry.parked.all]),
      });
    }
    return snapshots;
  }

  pause(bucketId: string): boolean {
    const entry = this.#entries.get(bucketId);
    if (entry === undefined) return false;
    entry.paused = true;
    entry.wake?.cancel();
    entry.wake = undefined;
    return true;
  }

  resume(bucketId: string): boolean {
    const entry = this.#entries.get(bucketId);
    if (entry === undefined) return false;
    entry.paused = false;
    const now = this.#options.clock.now();
    this.#advance(entry, now);
    this.#serve(entry, now);
    return true;
  }

  drain(untilMs: number): void {
    this.#drainUntil = untilMs;
    const now = this.#options.clock.now();
    for (const entry of this.#entries.values()) {
      this.#advance(entry, now);
      const inOrder: QueuedWaiter[] = [];
      for (let next = entry.queue.take(); next !== undefined; next = entry.queue.take()) {
        inOrder.push(next);
      }
      let rank = 0;
      for (const waiter of inOrder) {
        const eta = this.#eta(entry, rank + 1, now);
        if (eta !== undefined && eta > untilMs) {
          this.#dismiss(waiter, this.#tooLate(waiter.ticket, eta, now));
          continue;
        }
        rank++;
        entry.queue.add(waiter);
        this.#setDeadline(entry, waiter, now);
      }
      for (const waiter of entry.parked.all) this.#setDeadline(entry, waiter, now);
    }
  }

  handOver(): Handover {
    const waiting: Waiter[] = [];
    const known: KnownBucket[] = [];
    for (const entry of this.#entries.values()) {
      for (const waiter of [...entry.queue.tickets(), ...entry.parked.all]) {
        forgetTimers(waiter);
        waiting.push(waiter);
      }
      entry.wake?.cancel();
      if (entry.known !== undefined) known.push(entry.known);
    }
    const held = this.#grants.all.map(({ grant, known: { lease } }): HeldGrant => {
      return { grant, kind: lease.kind };
    });
    this.#entries.clear();
    this.#grants.clear();
    this.#starved.clear();
    return {
      waiting: waiting.sort((a, b) => a.ticket.arrivedAt - b.ticket.arrivedAt),
      held,
      known,
    };
  }

  takeOver({ waiting, held, known }: Handover): void {
    const now = this.#options.clock.now();
    const replicas = this.#options.standIn?.replicas() ?? 1;
    for (const each of known) {
      const entry = this.#entryFor(each.name, now, each);
      const { said, blockedUntil, own } = each;
      entry.bucket.assume({ said, blockedUntil, slots: own.entries() }, replicas, now);
    }
    for (const { grant, kind } of [...held].sort(byGrantTime)) {
      const entry = this.#entryFor(grant.ticket.bucket, now);
      this.#grants.hold(grant, { entry, lease: entry.bucket.adopt(kind, grant.grantedAt) });
    }
    for (const from of waiting) {
      const entry = this.#entryFor(from.ticket.bucket, now);
      const waiter = this.#expect(entry, from, now);
      if (from.notBefore > now) this.#park(entry, waiter, now);
      else entry.queue.add(waiter, { paid: from.isAgain });
    }
    for (const entry of this.#entries.values()) {
      this.#advance(entry, now);
      this.#serve(entry, now);
    }
  }

  close(): Promise<void> {
    const now = this.#options.clock.now();
    this.#drainUntil = now;
    for (const entry of this.#entries.values()) {
      for (const waiter of [...entry.queue.tickets(), ...entry.parked.all]) {
        this.#remove(entry, waiter, this.#tooLate(waiter.ticket, now, now));
      }
      entry.wake?.cancel();
    }
    this.#entries.clear();
    this.#starved.clear();
    return Promise.resolve();
  }

  #advance(entry: Entry, now: number): void {
    const { apiClock, clock, belief } = this.#options;
    if (belief !== entry.belief && belief !== undefined) entry.bucket.believe(belief);
    entry.belief = belief;
    entry.bucket.advance(now, apiClock.bounds(now, clock.wallMs()));
  }

  #grant(entry: Entry, ticket: Ticket, now: number, waitedFor: Grant['waitedFor']): Granted {
    const lease = entry.bucket.grant(now);
    const grant: Grant = { ticket, grantedAt: now, waitedFor };
    this.#grants.hold(grant, { entry, lease });
    return { kind: 'granted', grant };
  }

  /** When the `rank`th ticket can expect its grant; nobody knows how long a pause lasts. */
  #eta(entry: Entry, rank: number, now: number): number | undefined {
    return entry.paused ? undefined : entry.bucket.eta(rank, now);
  }

  /** The last moment at which this ticket's attempt may start, here. */
  #latest(ticket: Ticket): number {
    return Math.min(ticket.deadlineAt, this.#drainUntil);
  }

  /** Refuses at once what waiting cannot help. */
  #refusal(entry: Entry, ticket: Ticket, now: number, again: Again | undefined): Shed | undefined {
    const latest = this.#latest(ticket);
    if (latest <= now) return this.#tooLate(ticket, now, now);
    if (again !== undefined && again.notBefore > latest) {
      return this.#tooLate(ticket, again.notBefore, now);
    }
    // What is kept out of the queue takes as much room as what is in it.
    const waiting = entry.queue.size + entry.parked.size;
    if (again !== undefined && again.notBefore > now && waiting >= this.#options.maxQueue) {
      return { kind: 'shed', code: 'queue-full', retryAfterMs: again.notBefore - now };
    }
    // The walk over the flows is only worth its cost when the last place would be too late.
    const last = this.#eta(entry, entry.queue.size + 1, now);
    if (last === undefined || last <= latest) return undefined;
    const turn = { ...ticket, arrivedAt: ticket.arrivedAt };
    const eta = this.#eta(entry, entry.queue.ahead(turn) + 1, now);
    return eta === undefined || eta <= latest ? undefined : this.#tooLate(ticket, eta, now);
  }

  #tooLate(ticket: Ticket, eta: number, now: number): Shed {
    if (this.#drainUntil < ticket.deadlineAt) {
      return { kind: 'shed', code: 'draining', retryAfterMs: DRAINING_RETRY_MS };
    }
    return { kind: 'shed', code: 'wait-too-long', retryAfterMs: Math.max(0, eta - now) };
  }

  #wait(entry: Entry, ticket: Ticket, leaving: Leaving, now: number, again?: Again): Waiting {
    const outcome = new Promise<Granted | Shed | Left>((tell) => {
      const notBefore = again?.notBefore ?? 0;
      const isAgain = again !== undefined;
      const waiter = this.#expect(entry, { ticket, leaving, tell, isAgain, notBefore }, now);
      if (notBefore > now) this.#park(entry, waiter, now);
      else this.#enqueue(entry, waiter, now);
    });
    return { kind: 'waiting', outcome };
  }

  /** Makes sure that a waiter ends when its caller leaves, and at its deadline. */
  #expect(entry: Entry, from: Waiter, now: number): QueuedWaiter {
    const { owner, caller, priority, weight, arrivedAt } = from.ticket;
    const turn: Turn = { owner, caller, priority, weight, arrivedAt };
    const waiter: QueuedWaiter = {
      ...from,
      ...turn,
      place: undefined,
      timer: undefined,
      onRoll: false,
      previous: undefined,
      next: undefined,
    };
    waiter.leaving.onGone(() => this.#remove(entry, waiter, { kind: 'left' }));
    this.#setDeadline(entry, waiter, now);
    return waiter;
  }

  /** Keeps a waiter out of the queue until the API lets this one request back in. */
  #park(entry: Entry, waiter: QueuedWaiter, now: number): void {
    entry.parked.add(waiter);
    waiter.parkedFor = this.#options.clock.after(waiter.notBefore - now, () => {
      entry.parked.delete(waiter);
      const then = this.#options.clock.now();
      this.#advance(entry, then);
      this.#enqueue(entry, waiter, then);
    });
  }

  #enqueue(entry: Entry, waiter: QueuedWaiter, now: number): void {
    entry.queue.add(waiter, { paid: waiter.isAgain });
    if (entry.queue.size + entry.parked.size > this.#options.maxQueue) {
      const last = entry.queue.last;
      if (last !== undefined) {
        const eta = this.#eta(entry, entry.queue.size, now) ?? now;
        const retryAfterMs = Math.max(0, eta - now);
        this.#remove(entry, last, { kind: 'shed', code: 'queue-full', retryAfterMs });
      }
    }
    this.#serve(entry, now);
  }

  #setDeadline(entry: Entry, waiter: QueuedWaiter, now: number): void {
    waiter.timer?.cancel();
    waiter.timer = this.#options.clock.after(this.#latest(waiter.ticket) - now, () => {
      const then = this.#options.clock.now();
      this.#advance(entry, then);
      const eta = this.#eta(entry, 1, then) ?? then;
      this.#remove(entry, waiter, this.#tooLate(waiter.ticket, eta, then));
    });
  }

  #remove(entry: Entry, waiter: QueuedWaiter, outcome: Shed | Left): void {
    entry.queue.remove(waiter);
    entry.parked.delete(waiter);
    if (entry.queue.size === 0) this.#rest(entry);
    this.#dismiss(waiter, outcome);
  }

  /** Nobody waits for a grant: the bucket may be forgotten, and must not be held by what it was. */
  #rest(entry: Entry): void {
    entry.wake?.cancel();
    entry.wake = undefined;
    this.#starved.delete(entry);
  }

  #dismiss(waiter: QueuedWaiter, outcome: Granted | Shed | Left): void {
    forgetTimers(waiter);
    waiter.leaving.onGone(undefined);
    waiter.tell(outcome);
  }

  /** Grants what may go now, and sets the alarm for what comes next. */
  #serve(entry: Entry, now: number): void {
    while (this.#wants(entry, now)) {
      if (!this.#options.places.take()) {
        this.#starved.add(entry);
        return;
      }
      this.#grantHead(entry, now);
    }
    this.#setAlarm(entry, now);
  }

  /** A socket came free: one grant each, in turn, to the buckets that went without. */
  #serveStarved(): void {
    const now = this.#options.clock.now();
    for (const entry of this.#starved) {
      this.#advance(entry, now);
      if (this.#wants(entry, now)) {
        if (!this.#options.places.take()) return;
        this.#grantHead(entry, now);
      }
      this.#starved.delete(entry);
      // To the end of the line, which this loop reaches: a set is walked as it grows.
      if (this.#wants(entry, now)) this.#starved.add(entry);
      else this.#setAlarm(entry, now);
    }
  }

  #wants(entry: Entry, now: number): boolean {
    return !entry.paused && entry.queue.size > 0 && entry.bucket.offer(now) !== undefined;
  }

  #grantHead(entry: Entry, now: number): void {
    const waiter = entry.queue.take();
    if (waiter === undefined) return;
    const waitedFor = this.#starved.has(entry) ? 'socket' : 'budget';
    this.#dismiss(waiter, this.#grant(entry, waiter.ticket, now, waitedFor));
  }

  #setAlarm(entry: Entry, now: number): void {
    if (entry.queue.size === 0 || entry.paused) return this.#rest(entry);
    const at = entry.bucket.nextWakeAt(now);
    // An alarm that rings too early only looks and sets the next one.
    if (entry.wake !== undefined && entry.wakeAt <= at) return;
    entry.wake?.cancel();
    entry.wakeAt = at;
    entry.wake = this.#options.clock.after(at - now, () => {
      entry.wake = undefined;
      const then = this.#options.clock.now();
      this.#advance(entry, then);
      this.#serve(entry, then);
    });
  }

  #entryFor(name: BucketName, now: number, known?: KnownBucket): Entry {
    const existing = this.#entries.use(name.id);
    if (existing !== undefined) return existing;
    const { standIn } = this.#options;
    const entry: Entry = {
      name,
      bucket: new Bucket(now, this.#options.belief),
      known: standIn === undefined ? undefined : (known ?? new KnownBucket(name)),
      belief: this.#options.belief,
      queue: new FairQueue(),
      parked: new Roll(),
      paused: false,
      wake: undefined,
      wakeAt: 0,
    };
    this.#entries.add(name.id, entry);
    return entry;
  }
}

interface QueuedWaiter extends Waiter, Queued<QueuedWaiter>, RollItem<QueuedWaiter> {
  /** Rings at the deadline. */
  timer: Timer | undefined;
  /** Rings when a parked ticket may queue. */
  parkedFor?: Timer;
}

/** A bucket, its queue, and the one alarm that serves both. */
interface Entry {
  readonly name: BucketName;
  readonly bucket: Bucket;
  /** What this replica learns of the bucket, for the ledger that it stands in for. */
  readonly known: KnownBucket | undefined;
  /** What the bucket was last told to believe. */
  belief: MemoryLedgerOptions['belief'];
  readonly queue: FairQueue<QueuedWaiter>;
  /** Tickets that may not queue yet: the API throttled them and not the bucket. */
  readonly parked: Roll<QueuedWaiter>;
  /** An operator holds its grants back. */
  paused: boolean;
  wake: Timer | undefined;
  wakeAt: number;
}

interface Held {
  readonly entry: Entry;
  readonly lease: Lease;
}

function byGrantTime(a: HeldGrant, b: HeldGrant): number {
  return a.grant.grantedAt - b.grant.grantedAt;
}

function forgetTimers(waiter: QueuedWaiter): void {
  waiter.timer?.cancel();
  waiter.parkedFor?.cancel();
}

/** While this replica drains another one answers, or this one's successor, in a moment. */
const DRAINING_RETRY_MS = 1000;

/** Nothing is out, nothing waits, and nobody paused it. */
function isIdle({ bucket, paused, queue, parked }: Entry): boolean {
  return !bucket.busy && !paused && queue.size === 0 && parked.size === 0;
}
