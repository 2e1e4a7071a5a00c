import { LocalBudget, type LocalLease } from '../../src/ledger/local/local-budget.ts';
import { LocalReserve, type Reserved } from '../../src/ledger/local/local-reserve.ts';
import { DEFAULT_SPREAD } from '../../src/budget/reserve.ts';
import { addItem, operationsAhead, removeItem, takeItem } from '../../src/queue/fair-queue.ts';
import type { StatedShares } from '../../src/queue/caller-rules.ts';
import type { Priority } from '../../src/queue/flow.ts';
import { type MemoryItem, MemoryQueue } from '../../src/queue/memory-queue.ts';
import type {
  StepBatch,
  StepGranted,
  StepObservation,
  StepShed,
} from '../../src/ledger/shared/wire.ts';

/** The result of a step, in the terms of both the script and this model of it. */
export interface StepOutcome {
  readonly granted: StepGranted[];
  readonly shed: StepShed[];
  readonly published: Record<string, Message>;
  /** How many leases were prefetched, and whether the replica is to return those that it has. */
  readonly prefetched: number;
  readonly recall: boolean;
  readonly limit: number | undefined;
  readonly remaining: number | undefined;
  readonly resetIn: number | undefined;
  readonly blockedFor: number | undefined;
  readonly leases: number;
  readonly waiting: number;
  readonly wakeIn: number | undefined;
}

/** What a step publishes to another replica. */
interface Message {
  readonly granted: StepGranted[];
  readonly shed: StepShed[];
  recall: boolean;
}

/** Which prefetched leases a batch is about, by the sequence numbers of the steps that granted them. */
export interface PrefetchChanges {
  /** Those that the batch no longer counts. */
  readonly returned: readonly number[];
  /** Those that the batch reports as used, by the id of their lease. */
  readonly grantedBy: ReadonlyMap<string, number>;
}

/** The leases that a replica prefetched, with those that it used and has not reported. */
interface Prefetched {
  readonly all: { readonly lease: LocalLease; readonly grantedBy: number }[];
  endsAt: number;
  isRecalled: boolean;
}

interface Waiting extends MemoryItem<Waiting> {
  readonly id: string;
  readonly replica: string;
  readonly deadlineAt: number;
  /** The epoch of its replica when it was last declared. */
  epoch: number;
}

interface Held {
  readonly lease: LocalLease;
  readonly replica: string;
  /** While it is an offer: its end, and the ticket that then queues again. */
  offer?: { readonly endsAt: number; readonly ticket: Waiting } | undefined;
}

const OFFER_MS = 2000;
const PREFETCH_MS = 2000;
const UNHEARD_MS = 10_000;
const FORGOTTEN_MS = 600_000;
const ANY_TIME = { low: 0, high: 0 };

/** The step of step.lua, over the bucket and the queue of the local ledger. */
export class ReferenceStep {
  readonly #bucket: LocalBudget;
  readonly #reserve: LocalReserve;
  /** Whether the next ticket waits only because of the reserve, and did when tickets were served last. */
  #isKept = false;
  #wasKept = false;
  readonly #queue = new MemoryQueue<Waiting>();
  readonly #tickets = new Map<string, Waiting>();
  readonly #held = new Map<string, Held>();
  readonly #prefetched = new Map<string, Prefetched>();
  readonly #heardAt = new Map<string, number>();
  readonly #epochs = new Map<string, number>();
  readonly #maxQueue: number;
  /** Replicas of which tickets were dropped: they must declare what they have. */
  readonly mustDeclare = new Set<string>();
  #now = 0;
  #outcome: Pick<StepOutcome, 'granted' | 'shed' | 'published'> = {
    granted: [],
    shed: [],
    published: {},
  };

  constructor(
    now: number,
    maxQueue: number,
    belief?: { limit: number; periodMs: number },
    shares?: StatedShares,
  ) {
    this.#bucket = new LocalBudget(now, belief);
    this.#reserve = new LocalReserve(this.#bucket, { shares });
    this.#maxQueue = maxQueue;
  }

  run(batch: StepBatch, { returned, grantedBy }: PrefetchChanges, now: number): StepOutcome {
    this.#now = now;
    this.#isKept = false;
    this.#outcome = { granted: [], shed: [], published: {} };
    this.#endOffers();
    this.#expirePrefetched();
    this.#bucket.advance(now, ANY_TIME);
    if (batch.declares) this.#forgetReplicas();
    this.#heardAt.set(batch.replica, now);
    if (batch.declares) this.mustDeclare.delete(batch.replica);
    this.#epochs.set(batch.replica, batch.epoch);
    const prefetched = this.#prefetchedOf(batch.replica);
    prefetched.endsAt = now + PREFETCH_MS;
    prefetched.isRecalled = false;
    for (const [id, step] of grantedBy) {
      this.#held.set(id, { lease: takePrefetched(prefetched, step), replica: batch.replica });
    }
    for (const [id] of batch.held) {
      const held = this.#held.get(id);
      if (held !== undefined) held.offer = undefined;
    }
    for (const [id, , , , , outcome, observed] of batch.settled) {
      this.#settle(id, outcome, observed);
    }
    for (const id of batch.gone) this.#drop(id);
    for (const step of returned) this.#bucket.unsent(takePrefetched(prefetched, step));
    if (batch.usedBy !== undefined) {
      const [owner, priority, weight] = batch.usedBy;
      const call = { owner, caller: '', priority: priorityOf(priority), weight, arrivedAt: now };
      this.#reserve.granted(call, now);
    }
    this.#repeatOffers(batch.replica);
    this.#reserve.updateShares(now);
    if (!batch.declares) this.#serve(batch.replica);
    for (const ticket of batch.tickets) this.#arrive(batch.replica, ticket);
    this.#serve(batch.replica);
    const added = this.#prefetch(prefetched, batch);
    this.#recallPrefetched(batch.replica);
    const { limit, remaining, resetInMs, blockedForMs, leases } = this.#bucket.view(now);
    const waiting = this.#queue.size;
    return {
      ...this.#outcome,
      prefetched: added,
      recall: prefetched.isRecalled,
      limit,
      remaining,
      resetIn: resetInMs,
      blockedFor: blockedForMs,
      leases,
      waiting,
      wakeIn:
        waiting === 0 || !this.#waitsForBudget
          ? undefined
          : Math.min(this.#bucket.nextWakeAt(now), ...this.#prefetchedEnds) - now,
    };
  }

  /** How many leases all replicas prefetched; with the methods below, the rules of prefetch.lua. */
  get #prefetchedCount(): number {
    return [...this.#prefetched.values()].reduce((sum, { all }) => sum + all.length, 0);
  }

  get #prefetchedEnds(): number[] {
    const held = [...this.#prefetched.values()].filter(({ all }) => all.length > 0);
    return held.map(({ endsAt }) => endsAt);
  }

  #prefetchedOf(replica: string): Prefetched {
    const prefetched = this.#prefetched.get(replica) ?? { all: [], endsAt: 0, isRecalled: false };
    this.#prefetched.set(replica, prefetched);
    return prefetched;
  }

  #expirePrefetched(): void {
    for (const { all, endsAt } of this.#prefetched.values()) {
      if (endsAt > this.#now) continue;
      for (const { lease } of all.splice(0)) this.#bucket.lost(lease, this.#now);
    }
  }

  #prefetch({ all }: Prefetched, { wants, sequence }: StepBatch): number {
    const { limit, remaining, leases } = this.#bucket.view(this.#now);
    if (limit === undefined || remaining === undefined || this.#queue.size > 0) return 0;
    if (wants <= 0) return 0;
    if (this.#bucket.callCost !== 1) return 0;
    const most = this.#bucket.maxPrefetched(this.#now);
    // The script asks for the reserve, which is then brought up to date, only if it needs it.
    if (most <= 0) return 0;
    const free = remaining - this.#operationsInFlight(leases);
    const isWide = free >= 2 * this.#bucket.maxKept(DEFAULT_SPREAD);
    const available =
      free - (isWide ? this.#bucket.keptForCallers(this.#now) : this.#reserve.kept(this.#now));
    const max = Math.floor((available + this.#prefetchedCount) / 16);
    if (max < 8) return 0;
    const added = Math.max(0, Math.min(wants, max - this.#prefetchedCount, available, most, 128));
    for (let i = 0; i < added; i++) {
      all.push({ lease: this.#bucket.grant(this.#now, 1), grantedBy: sequence });
    }
    return added;
  }

  #recallPrefetched(stepping: string): void {
    const isMissed = this.#queue.size > 0 && this.#waitsForBudget;
    if (!isMissed && this.#bucket.offer(this.#now, 1) === 'regular') return;
    for (const [replica, prefetched] of this.#prefetched) {
      if (prefetched.all.length === 0 || prefetched.isRecalled) continue;
      prefetched.isRecalled = true;
      if (replica !== stepping) this.#messageFor(replica).recall = true;
    }
  }

  #forgetReplicas(): void {
    for (const [replica, heardAt] of this.#heardAt) {
      if (this.#now - heardAt > FORGOTTEN_MS) this.mustDeclare.add(replica);
    }
  }

  #endOffers(): void {
    const ended = [...this.#held]
      .filter(([, { offer }]) => offer !== undefined && offer.endsAt <= this.#now)
      .sort(inOrderOfEnds);
    for (const [id, { lease, offer }] of ended) {
      this.#held.delete(id);
      this.#bucket.unsent(lease);
      if (offer === undefined) continue;
      offer.ticket.paid = true;
      this.#enqueue(offer.ticket);
      this.#tickets.set(id, offer.ticket);
    }
  }

  #settle(id: string, outcome: string, observed: StepObservation | null | undefined): void {
    const held = this.#held.get(id);
    if (held === undefined) throw new Error(`no replica holds ${id}`);
    this.#held.delete(id);
    const { lease } = held;
    const now = this.#now;
    if (outcome === 'unsent') this.#bucket.unsent(lease);
    if (outcome === 'lost') this.#bucket.lost(lease, now);
    if (outcome !== 'answered' || observed === undefined || observed === null) return;
    const { status, limit, remaining, cost, resetIn, retryIn, sameWithin, uncertainty, random } =
      observed;
    this.#bucket.answered(
      lease,
      {
        status,
        ...(limit === undefined ? {} : { limit }),
        ...(remaining === undefined ? {} : { remaining }),
        ...(cost === undefined ? {} : { cost }),
        ...(resetIn === undefined ? {} : { resetAt: now + resetIn }),
        ...(retryIn === undefined ? {} : { retryAt: now + retryIn }),
        basis: 'delay',
        sameWithinMs: sameWithin,
        uncertaintyMs: uncertainty,
        receivedAt: now,
      },
      now,
      () => random ?? Number.NaN,
    );
  }

  #drop(id: string): void {
    const ticket = this.#tickets.get(id);
    if (ticket === undefined) return;
    this.#tickets.delete(id);
    removeItem(this.#queue, ticket);
    this.#reserve.unqueued(ticket);
  }

  #repeatOffers(replica: string): void {
    const mine = [...this.#held].filter(
      ([, held]) => held.replica === replica && held.offer !== undefined,
    );
    for (const [id, held] of mine.sort(inOrderOfEnds)) {
      held.offer = undefined;
      this.#outcome.granted.push(entryOf(id, held.lease));
    }
  }

  #arrive(replica: string, ticket: StepBatch['tickets'][number]): void {
    const [id, owner, caller, priority, weight, age, waits, how, cost] = ticket;
    const epoch = this.#epochs.get(replica) ?? 0;
    const known = this.#tickets.get(id);
    if (known !== undefined) {
      known.epoch = epoch;
      return;
    }
    const now = this.#now;
    const waiting: Waiting = {
      id,
      owner,
      caller,
      priority: priorityOf(priority),
      weight,
      cost,
      replica,
      arrivedAt: now - age,
      deadlineAt: now + waits,
      epoch,
      paid: how.endsWith('again'),
      flow: undefined,
      order: 0,
      isLinked: false,
      previous: undefined,
      next: undefined,
    };
    if (this.#bucket.isTooCostly(this.#costOf(waiting))) {
      this.#outcome.shed.push([id, 'cost-too-high', 0]);
      return;
    }
    const reserved = this.#reservedFor(waiting);
    if (reserved !== 'yes' && reserved !== 'stated') {
      this.#grant(waiting, replica, reserved === 'used' ? 'used' : undefined);
      return;
    }
    const waitMs = how.startsWith('kept') ? undefined : this.#tooLong(waiting);
    if (waitMs !== undefined) {
      this.#outcome.shed.push([id, 'wait-too-long', waitMs]);
      return;
    }
    this.#enqueue(waiting);
    this.#tickets.set(id, waiting);
    if (!how.startsWith('kept') && this.#queue.size > this.#maxQueue) this.#shedLast(replica);
  }

  #tooLong(ticket: Waiting): number | undefined {
    const now = this.#now;
    if (ticket.deadlineAt <= now) return 0;
    this.#reserve.update(now);
    const cost = this.#costOf(ticket);
    const last = this.#eta(this.#operations + cost);
    if (last === undefined || last <= ticket.deadlineAt) return undefined;
    const before = this.#reserve.waitingInShare(ticket);
    if (this.#reserve.isInShare(ticket, now, before)) {
      const at = this.#eta(before + cost, true);
      if (at === undefined || at <= ticket.deadlineAt) return undefined;
    }
    const ahead = operationsAhead(this.#queue, ticket, this.#bucket.callCost) ?? 0;
    const eta = this.#eta(ahead + cost);
    return eta !== undefined && eta > ticket.deadlineAt ? eta - now : undefined;
  }

  /** Prefetched leases count as available, since they are returned when tickets wait. */
  #eta(rank: number, isInShare = false): number | undefined {
    const { remaining = 0, leases } = this.#bucket.view(this.#now);
    const free = remaining - this.#operationsInFlight(leases);
    const returned = Math.max(0, free + this.#prefetchedCount) - Math.max(0, free);
    return isInShare
      ? this.#bucket.etaInShare(rank - returned, this.#now)
      : this.#bucket.eta(rank - returned, this.#now);
  }

  #shedLast(stepping: string): void {
    const last = this.#queue.last;
    if (last === undefined) return;
    const now = this.#now;
    const eta = this.#eta(this.#operations) ?? now;
    this.#shed(last, 'queue-full', Math.max(0, eta - now), stepping);
  }

  #shed(ticket: Waiting, code: StepShed[1], waitMs: number, stepping: string): void {
    this.#drop(ticket.id);
    if (this.#isDead(ticket)) return;
    const entry: StepShed = [ticket.id, code, waitMs];
    if (ticket.replica === stepping) this.#outcome.shed.push(entry);
    else this.#messageFor(ticket.replica).shed.push(entry);
  }

  #costOf({ cost }: Waiting): number {
    return cost ?? this.#bucket.callCost;
  }

  get #mayBeTooCostly(): boolean {
    return this.#bucket.isTooCostly(Math.max(this.#bucket.callCost, this.#queue.extra + 1));
  }

  get #operations(): number {
    return this.#queue.size * this.#bucket.callCost + this.#queue.extra;
  }

  /** The operations of all leases in flight, of which the bucket shows the number. */
  #operationsInFlight(leases: number): number {
    let operations = leases;
    for (const { lease } of this.#held.values()) {
      if (lease.state === 'in-flight') operations += lease.cost - 1;
    }
    return operations;
  }

  get #waitsForBudget(): boolean {
    const { head } = this.#queue;
    if (head === undefined) return false;
    if (this.#isKept) return true;
    return this.#bucket.offer(this.#now, this.#costOf(head)) === undefined;
  }

  #enqueue(ticket: Waiting): void {
    addItem(this.#queue, ticket);
    this.#reserve.queued(ticket, this.#now);
  }

  #reservedFor(ticket: Waiting): Reserved {
    const kind = this.#bucket.offer(this.#now, ticket.cost);
    if (this.#queue.size > 0 && kind !== undefined && this.#passes(ticket)) return 'used';
    if (this.#queue.size > 0) {
      return this.#isKept && this.#mayUseReserve(ticket, false) ? 'used' : 'yes';
    }
    return kind === undefined ? 'yes' : this.#reserve.keeps(ticket, kind, false, this.#now);
  }

  #passes(ticket: Waiting): boolean {
    const most = Math.max(this.#bucket.callCost, this.#queue.extra + 1);
    return this.#reserve.mayPass(ticket, most, this.#now);
  }

  /** The first ticket that may be granted from the reserve. */
  #firstModest(): Waiting | undefined {
    return this.#queue.firstHead(16, (ticket) => this.#mayUseReserve(ticket, true));
  }

  #mayUseReserve(ticket: Waiting, isQueued: boolean): boolean {
    const kind = this.#bucket.offer(this.#now, ticket.cost);
    return this.#reserve.mayUse(ticket, kind, isQueued, this.#now);
  }

  #serve(stepping: string): void {
    const isReleased = this.#wasKept;
    this.#serveAll(stepping, isReleased);
    this.#wasKept = this.#isKept;
  }

  #serveAll(stepping: string, isReleased: boolean): void {
    this.#isKept = false;
    if (this.#queue.size > 0) this.#reserve.update(this.#now);
    for (let next = this.#queue.head; next !== undefined; next = this.#queue.head) {
      let head = next;
      const isAnyOffered = this.#bucket.offer(this.#now, 1) !== undefined;
      // The script looks at no ticket without need.
      if (!isAnyOffered && !this.#mayBeTooCostly) break;
      if (this.#isDead(head)) {
        this.#drop(head.id);
        continue;
      }
      const cost = this.#costOf(head);
      if (this.#bucket.isTooCostly(cost)) {
        this.#shed(head, 'cost-too-high', 0, stepping);
        continue;
      }
      if (this.#reserve.mayBePassed(head.cost)) {
        const first = this.#queue.firstHead(16, (one) => this.#reserve.isInShare(one, this.#now));
        if (first !== undefined && this.#isDead(first)) {
          this.#drop(first.id);
          continue;
        }
        head = first ?? head;
      }
      const kind = this.#bucket.offer(this.#now, this.#costOf(head));
      if (kind === undefined) break;
      const reserved = this.#reserve.keeps(head, kind, true, this.#now);
      const isReserved = reserved === 'yes' || reserved === 'after-modest';
      const mayModest = isReserved && this.#reserve.mayBeUsed(this.#now);
      const modest = mayModest ? this.#firstModest() : undefined;
      if (modest !== undefined && this.#isDead(modest)) {
        this.#drop(modest.id);
        continue;
      }
      if (reserved === 'stated' || (modest === undefined && reserved === 'yes')) {
        this.#isKept = true;
        break;
      }
      const granted = modest ?? head;
      takeItem(this.#queue, granted);
      this.#reserve.unqueued(granted);
      this.#tickets.delete(granted.id);
      const isUsed = modest === undefined ? reserved === 'used' : reserved === 'yes';
      this.#grant(granted, stepping, isUsed ? 'used' : isReleased ? 'released' : undefined);
    }
  }

  #isDead({ replica, epoch }: Waiting): boolean {
    if (this.#epochs.get(replica) !== epoch) return true;
    const unheardMs = this.#now - (this.#heardAt.get(replica) ?? Number.NEGATIVE_INFINITY);
    if (unheardMs > UNHEARD_MS) this.mustDeclare.add(replica);
    return unheardMs > UNHEARD_MS;
  }

  #grant(ticket: Waiting, stepping: string, reserve: StepGranted[5]): void {
    const lease = this.#bucket.grant(this.#now, ticket.cost);
    this.#reserve.granted(ticket, this.#now);
    const held: Held = { lease, replica: ticket.replica };
    this.#held.set(ticket.id, held);
    const plain = entryOf(ticket.id, lease);
    const entry: StepGranted = reserve === undefined ? plain : [...plain, reserve];
    if (ticket.replica === stepping) {
      this.#outcome.granted.push(entry);
    } else {
      held.offer = { endsAt: this.#now + OFFER_MS, ticket };
      this.#messageFor(ticket.replica).granted.push(entry);
    }
  }

  #messageFor(replica: string): Message {
    return (this.#outcome.published[replica] ??= { granted: [], shed: [], recall: false });
  }
}

/** What a grant is without a reserve. */
type PlainEntry = [StepGranted[0], StepGranted[1], StepGranted[2], StepGranted[3], StepGranted[4]];

/** Orders leases by the end of their offer, then by name, as a sorted set does. */
function inOrderOfEnds([a, x]: [string, Held], [b, y]: [string, Held]): number {
  const difference = (x.offer?.endsAt ?? 0) - (y.offer?.endsAt ?? 0);
  return difference !== 0 ? difference : `${x.replica}\0${a}` < `${y.replica}\0${b}` ? -1 : 1;
}

/** Removes a lease that was prefetched by a step; all leases of one step are alike. */
function takePrefetched({ all }: Prefetched, step: number): LocalLease {
  const at = all.findIndex(({ grantedBy }) => grantedBy === step);
  const [taken] = all.splice(at, at < 0 ? 0 : 1);
  if (taken === undefined) throw new Error(`step ${step} prefetched no such lease`);
  return taken.lease;
}

function entryOf(id: string, { kind, observation, trusted, cost }: LocalLease): PlainEntry {
  return [id, kind, observation, trusted, cost];
}

function priorityOf(text: string): Priority {
  return text === 'high' || text === 'low' ? text : 'normal';
}
