import { Block } from './backoff.ts';
import { Canary } from './trials.ts';
import type { OffsetBounds } from './observation.ts';
import type { Random } from '../util/clock.ts';
import { Comebacks } from './refill.ts';
import { Counting } from './counting.ts';
import type { Belief, KnownBudget } from './known-budget.ts';
import { type Granted, type GrantKind, type Lease, Leases } from './in-flight.ts';
import { NewestObservation } from './observation-order.ts';
import type { Observation } from './observation.ts';
import { Opening } from './opening.ts';
import { Share, WHOLE } from './share.ts';
import { ReportingClock } from './reporting-clock.ts';

export type { KnownBudget } from './known-budget.ts';
export type { GrantKind, Lease } from './in-flight.ts';

/**
 * One budget at the API. Every spent operation is a slot that comes back at the reset its own
 * response reported; that one rule fits fixed, aligned and sliding windows and leaky buckets.
 *
 *                 a 2xx without rate headers
 *     ┌──────────┐ ───────────────────────────▶ ┌───────────┐   slow start: 1, 2, 4 … at once
 *     │ unopened │                              │ unmetered │
 *     └──────────┘ ──┐                          └───────────┘
 *      one probe     │ remaining, or a 429          │
 *      at a time     ▼                              ▼
 *                 ┌───────────────────────────────────────┐
 *                 │ metered: available = remaining − leases│
 *                 └───────────────────────────────────────┘
 *
 * While metered, three things hold grants back beyond `available`:
 *   blocked    until a 429's Retry-After, or until something comes back ({@link Block})
 *   held       a refill by the clock is a belief: one canary goes, the rest waits for its answer
 *   exhausted  nothing available and nothing known to come back: a canary after a while, or at
 *              once for what may have come back uncounted ({@link Canary} and {@link Comebacks})
 * Where several replicas have a part each, `available` is of our own, and what the others leave of
 * theirs goes after it ({@link Share}).
 *
 * Here is what the answers and the clock do to `remaining`; each of its members owns one thing more.
 * Times named `…At` are on our clock.
 */
export class Bucket {
  #phase: 'unopened' | 'unmetered' | 'metered' = 'unopened';
  /** Whether the API has said a limit, here or to whoever knew the budget before. */
  #isReported = false;
  #limit = 0;
  #remaining = 0;
  /** How much earlier than said the newest observation's reset may be. */
  #uncertaintyMs = 0;

  readonly #counting = new Counting();
  #part = WHOLE;
  readonly #clock = new ReportingClock();
  readonly #leases = new Leases();
  readonly #newest = new NewestObservation();
  readonly #comebacks = new Comebacks(this.#clock);
  readonly #block = new Block(this.#newest, this.#comebacks);
  readonly #canary: Canary;
  readonly #opening = new Opening();

  /** `belief` is a limit from the configuration, for APIs that report none. */
  constructor(now: number, belief?: Belief) {
    this.#canary = new Canary(now);
    if (belief !== undefined) this.believe(belief);
  }

  /**
   * Takes another limit from the configuration for the one that it was made with. What the API has
   * reported is better than what anybody configures, so it changes nothing then.
   */
  believe({ limit, periodMs }: Belief): void {
    if (this.#isReported) return;
    // Spent slots stay spent.
    const spent = this.#phase === 'metered' ? this.#limit - this.#remaining : 0;
    this.#phase = 'metered';
    this.#limit = this.#part.ofLimit(limit);
    this.#remaining = Math.max(0, this.#limit - spent);
    this.#comebacks.believe(periodMs, this.#part.mostOut(this.#limit, this.#remaining));
  }

  /**
   * Takes on what is known of the budget from elsewhere, and a share of it: one of `replicas` equal
   * parts, of this and of all that the API will say. Slots are our own and come back whole.
   */
  assume(known: KnownBudget, replicas: number, now: number): void {
    const { said, blockedUntil, slots } = known;
    this.#part = new Share(replicas, now);
    if (blockedUntil !== undefined && blockedUntil > now) this.#block.adopt(blockedUntil);
    if (said === undefined && this.#phase === 'metered') {
      this.#limit = this.#part.ofLimit(this.#limit);
      this.#remaining = Math.min(this.#remaining, this.#limit);
    }
    if (said === undefined) return;
    this.#phase = 'metered';
    this.#isReported = true;
    this.#limit = this.#part.ofLimit(said.limit);
    this.#remaining = this.#part.of(said.remaining);
    this.#part.heard(said.remaining, said.at ?? now, -Infinity);
    this.#uncertaintyMs = said.uncertaintyMs;
    this.#clock.use('delay');
    this.#comebacks.assume(said.resetAt, said.periodMs, said.limit);
    for (const [at, count] of slots) {
      for (let i = 0; i < count; i++) if (at > now) this.#comebacks.addSlot(at, now);
    }
    this.#comebacks.keepLast(said.limit - said.remaining);
    this.#part.begin(now, this.#own);
    if (said.resetAt === undefined || said.resetAt <= now) this.#canary.later(now);
  }

  /** Takes on a grant that was given elsewhere and has no answer yet. Oldest first. */
  adopt(kind: GrantKind, grantedAt: number): Lease {
    const lease = this.#leases.add(this.#granted(kind, grantedAt, false));
    if (kind === 'canary') this.#canary.adopt(lease);
    return lease;
  }

  /** Whether answers are still awaited: such a bucket must not be forgotten. */
  get busy(): boolean {
    return this.#leases.size > 0;
  }

  /** Lets time pass: leases expire, slots come back, the reset and the block end. Call it first. */
  advance(now: number, offset: OffsetBounds): void {
    this.#clock.offset = offset;
    for (;;) {
      const leaseAt = this.#leases.expireAt;
      const { slotAt, refillAt } = this.#comebacks;
      // In the order in which they happened: an expired lease's slot may be what the reset clears.
      if (Math.min(leaseAt, slotAt, refillAt) > now) break;
      if (leaseAt <= slotAt && leaseAt <= refillAt) this.#expireOldest(now);
      else if (refillAt <= slotAt) this.#refill(refillAt);
      else this.#takeSlots();
    }
    // What came back by the clock is test enough; a canary goes only where nothing did.
    if (this.#block.endedBy(now)) {
      this.#part.begin(now, this.#own);
      this.#canary.dueUnless(this.#available);
    }
    this.#part.advance(now);
    this.#canary.advance(now, this.#available);
    // As after a refill: what is there is a belief.
    const isDoubtful = this.#part.isOld(now) && !this.busy && this.#available > 0;
    if (isDoubtful && !this.#canary.holds(now)) this.#canary.hold(now, this.#uncertaintyMs);
  }

  /** Whether a request may go now, and as what; `undefined` when it must wait. */
  offer(now: number): GrantKind | undefined {
    return this.#usualOffer(now) ?? (now >= this.#stuckAt ? 'canary' : undefined);
  }

  /** Lets one request go, which {@link offer} must have said may. */
  grant(now: number): Lease {
    const kind = this.offer(now);
    if (kind === undefined) throw new Error('a grant was taken that was not on offer');
    const trustsClock = this.#available > 0 && this.#comebacks.isRecent(now, this.#uncertaintyMs);
    const lease = this.#leases.add(this.#granted(kind, now, trustsClock));
    if (this.#part.isPart) this.#part.granted(now, this.#available, this.#limit, this.#paceMs);
    this.#canary.granted(lease, now);
    if (kind === 'probe') this.#opening.probed(now);
    return lease;
  }

  /** The response's headers arrived. `random` spreads the retries of an API that says no time. */
  answered(lease: Lease, observation: Observation, now: number, random: Random): void {
    const wasOut = this.#end(lease);
    if (lease.kind === 'probe') this.#opening.probeAnswered();
    const throttled = observation.status === 429;
    const { resetAt } = observation;
    if (observation.remaining === undefined && !throttled) {
      if (wasOut) this.#headerless(observation.status, now);
      return;
    }
    if (observation.remaining === undefined && resetAt === undefined) {
      this.#opening.narrow();
      this.#remaining = 0;
      this.#throttled(lease, observation, now, random);
      return;
    }
    this.#useBasis(observation);
    const resetPassed = resetAt !== undefined && this.#clock.local(resetAt) <= now;
    const refused = throttled && (observation.remaining ?? 0) === 0;
    if (resetPassed && (this.#comebacks.resetAt ?? now) > now) {
      // Its numbers are stale, but an instruction is obeyed.
      if (refused && (observation.retryAt ?? now) > now) {
        this.#throttled(lease, observation, now, random);
      }
      return;
    }

    const unrecorded = (wasOut || !lease.recorded) && !throttled;
    if (unrecorded && resetAt !== undefined && !resetPassed) this.#comebacks.addSlot(resetAt, now);
    if (!this.#newest.isBefore(lease, observation)) {
      this.#comebacks.overtaken();
      return;
    }
    this.#observe(lease, observation, now);
    if (refused) this.#throttled(lease, observation, now, random);
    else this.#accepted(lease);
  }

  /** The request was never sent: it cost nothing. */
  unsent(lease: Lease): void {
    if (!this.#end(lease)) return;
    if (lease.kind === 'canary') this.#canary.dueUnless(this.#available);
    if (lease.kind === 'probe') this.#opening.probeAgain();
  }

  /** The request may have reached the API and no answer will come: it counts as spent. */
  lost(lease: Lease, now: number): void {
    if (!this.#end(lease)) return;
    this.#spend(now);
    if (lease.kind === 'canary') this.#canary.later(now);
  }

  /** When {@link offer} may next say something else than it does now; never infinitely far. */
  nextWakeAt(now: number): number {
    let at = this.#stuckAt;
    const consider = (time: number | undefined): void => {
      if (time !== undefined && time > now && time < at) at = time;
    };
    consider(this.#block.until);
    consider(this.#comebacks.slotAt);
    consider(this.#comebacks.refillAt);
    const { askAt } = this.#comebacks;
    if (!this.busy) consider(askAt);
    consider(this.#canary.heldUntil);
    consider(this.#beyondAt);
    consider(this.#part.keptUntil);
    consider(this.#canary.dueAt);
    if (this.#phase === 'unopened') consider(this.#opening.probeAt);
    const isKeptByLeases =
      this.#part.isPart || this.#canary.isOut || this.#phase !== 'metered' || askAt < Infinity;
    if (isKeptByLeases) consider(this.#leases.expireAt);
    return Math.max(at, now);
  }

  /**
   * When the `rank`th waiting ticket (from 1) can expect its grant, on our clock; `undefined` when
   * too little is known to say. It counts on nobody else spending the budget.
   */
  eta(rank: number, now: number): number | undefined {
    const start = Math.max(now, this.#block.until ?? now);
    const known = this.#etaUnblocked(rank, now);
    if (known === undefined) return this.#block.until === undefined ? undefined : start;
    return Math.max(start, known);
  }

  view(now: number): BucketNumbers {
    const metered = this.#phase === 'metered';
    const { resetAt } = this.#comebacks;
    const blockedUntil = this.#block.until;
    return {
      ...(metered ? { limit: this.#limit, remaining: Math.max(0, this.#own) } : {}),
      ...(resetAt === undefined || resetAt <= now ? {} : { resetInMs: resetAt - now }),
      ...(blockedUntil === undefined ? {} : { blockedForMs: blockedUntil - now }),
      leases: this.#leases.size,
    };
  }

  get #available(): number {
    return this.#phase === 'metered' ? this.#own - this.#leases.size : 0;
  }

  /** What remains of our own part of the budget. */
  get #own(): number {
    return this.#part.own(this.#remaining, this.#limit, this.#comebacks.out);
  }

  get #isUsedUp(): boolean {
    return this.#comebacks.out + this.#leases.size >= this.#limit;
  }

  /** When one may go although nothing of our own part is available; infinitely far when none may. */
  get #beyondAt(): number {
    return this.#part.nextAt(this.#leases.size, this.#isUsedUp);
  }

  /** How far apart the operations of all replicas are where they are spent evenly. */
  get #paceMs(): number {
    return this.#comebacks.paceMs(this.#part.whole(this.#limit));
  }

  #granted(kind: GrantKind, grantedAt: number, trustedClock: boolean): Granted {
    const { returns } = this.#comebacks;
    return { kind, grantedAt, observation: this.#newest.count, returns, trustedClock };
  }

  #usualOffer(now: number): GrantKind | undefined {
    if (this.#block.until !== undefined) return undefined;
    const out = this.#leases.size;
    if (this.#phase === 'unopened') {
      return out === 0 || now >= this.#opening.probeAt ? 'probe' : undefined;
    }
    if (this.#phase === 'unmetered') return out < this.#opening.window ? 'slot' : undefined;
    const available = this.#own - out;
    const mayGo = available > 0 || now >= this.#beyondAt;
    if (mayGo && !this.#canary.holds(now)) return 'slot';
    // Whatever is out will tell what one would ask.
    const asks = out === 0 && now >= this.#comebacks.askAt;
    return asks || this.#canary.mayGo(available) ? 'canary' : undefined;
  }

  get #stuckAt(): number {
    return this.#canary.stuckAt(this.#block.isByRetryAfter);
  }

  /** An API that changes the clock it reports on takes our book-keeping with it. */
  #useBasis({ basis, resetAt }: Observation): void {
    if (resetAt === undefined) return;
    const movedMs = this.#clock.use(basis);
    if (movedMs === 0) return;
    this.#comebacks.move(movedMs);
    this.#newest.move(movedMs);
  }

  #expireOldest(now: number): void {
    const lease = this.#leases.expireOldest();
    if (lease === undefined) return;
    this.#canary.ended(lease);
    lease.recorded = this.#spend(now);
    if (lease.kind === 'canary') this.#canary.later(now);
  }

  #takeSlots(): void {
    const count = this.#comebacks.takeSlots();
    this.#remaining = Math.min(this.#limit, this.#remaining + count);
    this.#part.cameBack(count);
  }

  /** The reset passed, so we believe; a canary tells. */
  #refill(at: number): void {
    this.#remaining = Math.max(0, this.#limit - this.#comebacks.refill());
    this.#part.begin(at, this.#own);
    this.#canary.dueUnless(this.#available);
    this.#canary.hold(at, this.#uncertaintyMs);
  }

  /** Takes a lease off the books; says whether it was still on them. */
  #end(lease: Lease): boolean {
    const wasOut = this.#leases.end(lease);
    this.#canary.ended(lease);
    return wasOut;
  }

  /** Books an operation that nobody told of; says whether anything tells when it comes back. */
  #spend(now: number): boolean {
    this.#leases.lose();
    if (this.#phase !== 'metered') return false;
    this.#remaining = Math.max(0, this.#remaining - 1);
    this.#part.spent();
    const comesBack = this.#comebacks.addLost(now);
    this.#comebacks.keepLast(this.#part.mostOut(this.#limit, this.#remaining));
    if (!comesBack && this.#remaining === 0 && this.#leases.size === 0) this.#canary.later(now);
    return comesBack;
  }

  #headerless(status: number, now: number): void {
    if (this.#phase === 'metered') {
      // An API that reports its limits does so on what it counts. A refusal without them came from
      // something in front of the count; a 5xx may have come from behind it.
      const uncounted = this.#isReported && status >= 400 && status < 500;
      if (!uncounted) this.#spend(now);
      return;
    }
    if (this.#phase === 'unopened') this.#opening.probeAgain();
    if (status < 200 || status >= 300) return;
    this.#phase = 'unmetered';
    this.#opening.widen();
  }

  #observe(lease: Lease, observation: Observation, now: number): void {
    const { remaining: said = 0, uncertaintyMs } = observation;
    const throttled = observation.status === 429;
    const first = this.#newest.count === 0;
    const refilled = this.#canary.heldUntil !== undefined;
    const whole = Math.max(observation.limit ?? this.#part.whole(this.#limit), said, 1);
    const isLone = (first || refilled) && lease.kind !== 'slot';
    if (isLone && !throttled) this.#counting.learn(said, whole);
    const limit = this.#part.ofLimit(whole);
    const left = this.#counting.left(said, throttled);
    // What was spent without an answer while this one was out may not be in its number yet.
    const remaining = Math.max(0, this.#part.of(left) - this.#leases.lostDuring(lease));
    const otherLimit = !first && limit !== this.#limit && remaining > this.#remaining;

    this.#phase = 'metered';
    this.#isReported = true;
    this.#newest.replace(observation);
    this.#limit = limit;
    this.#remaining = remaining;
    this.#uncertaintyMs = uncertaintyMs;
    this.#part.heard(left, now, lease.grantedAt);
    this.#canary.observed();
    // More under another limit than before may be a raised quota, or a route with a budget of its
    // own. As with a refill by the clock, one canary tells.
    if (otherLimit) this.#canary.hold(now, uncertaintyMs);
    if (remaining > 0) this.#block.overrule(lease);

    const { isPart } = this.#part;
    const numbers = { limit: whole, out: whole - left, inFlight: this.#leases.size, isPart };
    const tells = this.#comebacks.observed(lease, observation, numbers, now);
    if (tells || remaining > 0) this.#canary.hopeful();
    if (tells) this.#canary.notLater();
    else this.#canary.later(now);
  }

  #accepted(lease: Lease): void {
    this.#canary.accepted();
    this.#block.accepted();
    if (lease.trustedClock) this.#comebacks.inTime();
  }

  #throttled(lease: Lease, observation: Observation, now: number, random: Random): void {
    if (lease.trustedClock) this.#comebacks.early(observation.uncertaintyMs);
    if (lease.kind === 'canary') this.#canary.refused();
    if (this.#block.refused(lease, observation, now, random)) this.#canary.notLater();
  }

  #etaUnblocked(rank: number, now: number): number | undefined {
    if (this.#phase !== 'metered') return undefined;
    const ahead = rank - Math.max(0, this.#available) - 1;
    if (ahead < 0) return now;
    if (!this.#part.isPart) return this.#comebacks.nth(ahead, this.#limit);
    const back = this.#comebacks.nth(ahead, Math.max(this.#limit, this.#comebacks.out));
    const beyond = this.#part.nthAt(ahead, this.#leases.size, this.#isUsedUp, this.#paceMs);
    return beyond < (back ?? Infinity) ? beyond : back;
  }
}

export interface BucketNumbers {
  readonly limit?: number;
  readonly remaining?: number;
  readonly resetInMs?: number;
  readonly blockedForMs?: number;
  readonly leases: number;
}
