import type { OffsetBounds } from './clock-offset.ts';
import type { Chance } from './clock.ts';
import { LargestSeen } from './largest-seen.ts';
import type { Basis, Observation } from './observation.ts';
import { Slots } from './slots.ts';

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
 *   blocked    until a 429's Retry-After, or until something comes back
 *   held       a refill by the clock is a belief: one canary goes, the rest waits for its answer
 *   exhausted  nothing available and nothing known to come back: a canary after a while
 *
 * Times named `…At` are on our clock; those of slots and of the reset are on the clock that `basis`
 * names and converted when used, so that they get sharper as the API's clock becomes known.
 */
export class Bucket {
  #phase: 'unopened' | 'unmetered' | 'metered' = 'unopened';
  #offset: OffsetBounds = { low: 0, high: 0 };
  #basis: Basis = 'instant';

  #limit = 0;
  #remaining = 0;
  #resetAt: number | undefined;
  #uncertaintyMs = 0;
  readonly #slots = new Slots();
  readonly #period = new LargestSeen();
  /** What a configured limit says its period is; an observed one takes its place. */
  #believedPeriodMs: number | undefined;
  /** Whether this API reports the count before the call. */
  #countsBefore = false;

  /** Out and not yet answered, in the order they were granted. */
  readonly #leases = new Set<Lease>();
  #observations = 0;
  /** Grants that were spent without an answer: what an answer on its way cannot have counted. */
  #losses = 0;
  /** What the newest observation said, to tell overlapping answers' order. */
  #reported: { remaining: number; resetAt: number | undefined; sameWithinMs: number } | undefined;

  /** What came back by then is in the newest observation's number. */
  #countedUntil = Number.NEGATIVE_INFINITY;

  #blockedUntil: number | undefined;
  #blockedByRetryAfter = false;
  #blockedAt = Number.NEGATIVE_INFINITY;
  /** How many observations there were when the block began. */
  #blockObservation = 0;
  #heldUntil: number | undefined;
  #canary: Lease | undefined;
  /** Whether one grant may go although nothing is available. */
  #canaryDue = false;
  #canaryDueAt: number | undefined;
  #unknownResetMs = UNKNOWN_RESET_MS.first;
  #throttlesInARow = 0;

  #lastGrantAt: number;
  #stuckMs = STUCK_MS.usual;
  #probeAt = 0;
  #probeEveryMs = PROBE_MS.first;
  /** How many unmetered requests may be out at once. */
  #window = 1;

  #latenessMs = 0;
  /** How many replicas each have an equal part of what the API reports. */
  #replicas = 1;
  #cameBackAt = Number.NEGATIVE_INFINITY;

  /** `belief` is a limit from the configuration, for APIs that report none. */
  constructor(now: number, belief?: { readonly limit: number; readonly periodMs: number }) {
    this.#lastGrantAt = now;
    if (belief === undefined) return;
    this.#phase = 'metered';
    this.#limit = belief.limit;
    this.#remaining = belief.limit;
    this.#believedPeriodMs = belief.periodMs;
  }

  /**
   * Takes another limit from the configuration for the one that it was made with. What the API has
   * reported is better than what anybody configures, so it changes nothing then.
   */
  believe(belief: { readonly limit: number; readonly periodMs: number }): void {
    if (this.#observations > 0) return;
    // Spent slots stay spent.
    const spent = this.#phase === 'metered' ? this.#limit - this.#remaining : 0;
    this.#phase = 'metered';
    this.#limit = belief.limit;
    this.#remaining = Math.max(0, belief.limit - spent);
    this.#believedPeriodMs = belief.periodMs;
    this.#slots.keepLast(this.#limit - this.#remaining);
  }

  /**
   * Takes on what is known of the budget from elsewhere, and a share of it: one of `replicas` equal
   * parts, of this and of all that the API will say. Slots are our own and come back whole.
   */
  assume(known: KnownBudget, replicas: number, now: number): void {
    const { said, blockedUntil, slots } = known;
    this.#replicas = replicas;
    if (blockedUntil !== undefined && blockedUntil > now) {
      this.#blockedUntil = blockedUntil;
      this.#blockedByRetryAfter = true;
    }
    if (said === undefined) return;
    this.#phase = 'metered';
    this.#basis = 'delay';
    this.#limit = this.#share(said.limit, 1);
    this.#remaining = this.#share(said.remaining, 0);
    this.#resetAt = said.resetAt;
    this.#uncertaintyMs = said.uncertaintyMs;
    if (said.periodMs !== undefined) this.#period.add(said.periodMs, Math.max(64, 2 * said.limit));
    for (const [at, count] of slots) {
      for (let i = 0; i < count; i++) if (at > now) this.#addSlot(at, now);
    }
    this.#slots.keepLast(this.#limit - this.#remaining);
    if (said.resetAt === undefined || said.resetAt <= now) this.#canaryLater(now);
  }

  /** Takes on a grant that was given elsewhere and has no answer yet. Oldest first. */
  adopt(kind: GrantKind, grantedAt: number): Lease {
    const lease: Lease = {
      kind,
      grantedAt,
      observation: this.#observations,
      losses: this.#losses,
      loss: 0,
      recorded: false,
      trustedClock: false,
      state: 'out',
    };
    this.#leases.add(lease);
    if (kind === 'canary') this.#canary = lease;
    return lease;
  }

  /** Whether answers are still awaited: such a bucket must not be forgotten. */
  get busy(): boolean {
    return this.#leases.size > 0;
  }

  /** Lets time pass: leases expire, slots come back, the reset and the block end. Call it first. */
  advance(now: number, offset: OffsetBounds): void {
    this.#offset = offset;
    for (;;) {
      const leaseAt = this.#leaseEndsAt();
      const slotAt = this.#slotBackAt() ?? Number.POSITIVE_INFINITY;
      const refillAt = this.#refillAt() ?? Number.POSITIVE_INFINITY;
      // In the order in which they happened: an expired lease's slot may be what the reset clears.
      if (Math.min(leaseAt, slotAt, refillAt) > now) break;
      if (leaseAt <= slotAt && leaseAt <= refillAt) this.#expireOldest(now);
      else if (refillAt <= slotAt) this.#refill(refillAt);
      else this.#takeSlotsBack(slotAt);
    }
    if (this.#blockedUntil !== undefined && this.#blockedUntil <= now) {
      this.#blockedUntil = undefined;
      // What came back by the clock is test enough; a canary goes only where nothing did.
      this.#canaryDue = this.#available <= 0;
    }
    if (this.#canaryDueAt !== undefined && this.#canaryDueAt <= now) {
      this.#canaryDueAt = undefined;
      this.#canaryDue = this.#available <= 0;
    }
  }

  /** Whether a request may go now, and as what; `undefined` when it must wait. */
  offer(now: number): GrantKind | undefined {
    return this.#usualOffer(now) ?? (now >= this.#stuckAt() ? 'canary' : undefined);
  }

  /** Lets one request go, which {@link offer} must have said may. */
  grant(now: number): Lease {
    const kind = this.offer(now);
    if (kind === undefined) throw new Error('a grant was taken that was not on offer');
    const soonAfterComeback = now - this.#cameBackAt <= this.#uncertaintyMs + MAX_LATENESS_MS;
    const lease: Lease = {
      kind,
      grantedAt: now,
      observation: this.#observations,
      losses: this.#losses,
      loss: 0,
      recorded: false,
      trustedClock: this.#available > 0 && soonAfterComeback,
      state: 'out',
    };
    this.#leases.add(lease);
    this.#lastGrantAt = now;
    // Whatever goes now tells as much as a canary would.
    this.#canaryDue = false;
    if (kind === 'canary') {
      this.#canary = lease;
    } else if (kind === 'probe') {
      this.#probeAt = now + this.#probeEveryMs;
      this.#probeEveryMs = Math.min(this.#probeEveryMs * 2, PROBE_MS.last);
    }
    return lease;
  }

  /** The response's headers arrived. `chance` spreads the retries of an API that says no time. */
  answered(lease: Lease, observation: Observation, now: number, chance: Chance): void {
    const wasOut = this.#end(lease);
    if (lease.kind === 'probe') this.#probeEveryMs = PROBE_MS.first;
    const throttled = observation.status === 429;
    const { resetAt } = observation;
    if (observation.remaining === undefined && !throttled) {
      if (wasOut) this.#headerless(observation.status, now);
      return;
    }
    if (observation.remaining === undefined && resetAt === undefined) {
      this.#window = 1;
      this.#remaining = 0;
      this.#throttled(lease, observation, now, chance);
      return;
    }
    this.#useBasis(observation);
    const resetPassed = resetAt !== undefined && this.#local(resetAt) <= now;
    const othersAhead = this.#resetAt !== undefined && this.#local(this.#resetAt) > now;
    const refused = throttled && (observation.remaining ?? 0) === 0;
    if (resetPassed && othersAhead) {
      // Its numbers are stale, but an instruction is obeyed.
      if (refused && (observation.retryAt ?? now) > now) {
        this.#throttled(lease, observation, now, chance);
      }
      return;
    }

    const unrecorded = (wasOut || !lease.recorded) && !throttled;
    if (unrecorded && resetAt !== undefined && !resetPassed) this.#addSlot(resetAt, now);
    if (!this.#isNewer(lease, observation)) return;
    this.#observe(lease, observation, now);
    if (refused) {
      this.#throttled(lease, observation, now, chance);
    } else {
      this.#accepted(lease);
    }
  }

  /** The request was never sent: it cost nothing. */
  unsent(lease: Lease): void {
    if (!this.#end(lease)) return;
    if (lease.kind === 'canary') this.#canaryDue = this.#available <= 0;
    if (lease.kind === 'probe') this.#probeAt = Number.NEGATIVE_INFINITY;
  }

  /** The request may have reached the API and no answer will come: it counts as spent. */
  lost(lease: Lease, now: number): void {
    if (!this.#end(lease)) return;
    this.#spend(now);
    if (lease.kind === 'canary') this.#canaryLater(now);
  }

  /** When {@link offer} may next say something else than it does now; never infinitely far. */
  nextWakeAt(now: number): number {
    let at = this.#stuckAt();
    const consider = (time: number | undefined): void => {
      if (time !== undefined && time > now && time < at) at = time;
    };
    consider(this.#blockedUntil);
    consider(this.#slotBackAt());
    consider(this.#refillAt());
    consider(this.#heldUntil);
    consider(this.#canaryDueAt);
    if (this.#phase === 'unopened') consider(this.#probeAt);
    if (this.#canary !== undefined || this.#phase !== 'metered') consider(this.#leaseEndsAt());
    return Math.max(at, now);
  }

  /**
   * When the `rank`th waiting ticket (from 1) can expect its grant, on our clock; `undefined` when
   * too little is known to say. It counts on nobody else spending the budget.
   */
  eta(rank: number, now: number): number | undefined {
    const start = Math.max(now, this.#blockedUntil ?? now);
    const known = this.#etaUnblocked(rank, now);
    if (known === undefined) return this.#blockedUntil === undefined ? undefined : start;
    return Math.max(start, known);
  }

  view(now: number): BucketNumbers {
    const metered = this.#phase === 'metered';
    const resetAt = this.#resetAt === undefined ? undefined : this.#local(this.#resetAt);
    return {
      ...(metered ? { limit: this.#limit, remaining: this.#remaining } : {}),
      ...(resetAt === undefined || resetAt <= now ? {} : { resetInMs: resetAt - now }),
      ...(this.#blockedUntil === undefined ? {} : { blockedForMs: this.#blockedUntil - now }),
      leases: this.#leases.size,
    };
  }

  get #available(): number {
    return this.#phase === 'metered' ? this.#remaining - this.#leases.size : 0;
  }

  #usualOffer(now: number): GrantKind | undefined {
    if (this.#blockedUntil !== undefined) return undefined;
    if (this.#phase === 'unopened') {
      return this.#leases.size === 0 || now >= this.#probeAt ? 'probe' : undefined;
    }
    if (this.#phase === 'unmetered') {
      return this.#leases.size < this.#window ? 'slot' : undefined;
    }
    const canaryFree = this.#canary === undefined;
    if (this.#heldUntil !== undefined && now < this.#heldUntil) {
      return canaryFree && (this.#available > 0 || this.#canaryDue) ? 'canary' : undefined;
    }
    if (this.#available > 0) return 'slot';
    return this.#canaryDue && canaryFree ? 'canary' : undefined;
  }

  /** The time after which one request goes whatever we believe: no belief may last for ever. */
  #stuckAt(): number {
    const { usual, underRetryAfter } = STUCK_MS;
    const told = this.#blockedUntil !== undefined && this.#blockedByRetryAfter;
    return (
      this.#lastGrantAt +
      (told ? Math.max(this.#stuckMs, underRetryAfter) : Math.max(this.#stuckMs, usual))
    );
  }

  #local(time: number): number {
    return this.#basis === 'instant' ? time - this.#offset.low : time;
  }

  #reporting(local: number): number {
    return this.#basis === 'instant' ? local + this.#offset.low : local;
  }

  /** An API that changes the clock it reports on takes our book-keeping with it. */
  #useBasis({ basis, resetAt }: Observation): void {
    if (resetAt === undefined || basis === this.#basis) return;
    const move = basis === 'instant' ? this.#offset.low : -this.#offset.low;
    this.#basis = basis;
    this.#slots.move(move);
    if (this.#resetAt !== undefined) this.#resetAt += move;
    if (this.#reported?.resetAt !== undefined) this.#reported.resetAt += move;
  }

  #leaseEndsAt(): number {
    for (const lease of this.#leases) return lease.grantedAt + LEASE_MS;
    return Number.POSITIVE_INFINITY;
  }

  #slotBackAt(): number | undefined {
    const first = this.#slots.first;
    return first === undefined ? undefined : this.#local(first) + this.#latenessMs;
  }

  #refillAt(): number | undefined {
    return this.#resetAt === undefined ? undefined : this.#local(this.#resetAt) + this.#latenessMs;
  }

  #expireOldest(now: number): void {
    for (const lease of this.#leases) {
      this.#end(lease);
      lease.state = 'expired';
      lease.loss = 1;
      lease.recorded = this.#spend(now);
      if (lease.kind === 'canary') this.#canaryLater(now);
      return;
    }
  }

  #takeSlotsBack(at: number): void {
    // Up to the very number that is there: converted back and forth it might miss itself.
    const back = this.#slots.takeUntil(this.#slots.first ?? at);
    this.#remaining = Math.min(this.#limit, this.#remaining + back);
    this.#cameBackAt = at;
  }

  #refill(at: number): void {
    // What was spent without an answer after the newest observation may still be out: in a sliding
    // log it is, in a window it is not. The canary's answer tells; until then it counts.
    if (this.#resetAt !== undefined) this.#slots.takeUntil(this.#resetAt);
    const later = this.#slots.countBefore(this.#reporting(at + (this.#periodMs ?? 0) + 1));
    this.#slots.clear();
    this.#remaining = Math.max(0, this.#limit - later);
    this.#resetAt = undefined;
    this.#canaryDue = this.#available <= 0;
    this.#heldUntil = at + this.#uncertaintyMs + HOLD_MS;
    this.#cameBackAt = at;
  }

  /** Takes a lease off the books; says whether it was still on them. */
  #end(lease: Lease): boolean {
    if (lease.state === 'ended') throw new Error('a grant was settled twice');
    const wasOut = lease.state === 'out';
    lease.state = 'ended';
    this.#leases.delete(lease);
    if (this.#canary === lease) this.#canary = undefined;
    return wasOut;
  }

  /** Books an operation that nobody told of; says whether anything tells when it comes back. */
  #spend(now: number): boolean {
    this.#losses++;
    if (this.#phase !== 'metered') return false;
    this.#remaining = Math.max(0, this.#remaining - 1);
    const known = this.#resetAt !== undefined || this.#believedPeriodMs !== undefined;
    if (known) {
      // Its own reset, which we did not get to see, may lie behind the newest that we saw.
      const periodOn = this.#reporting(now + (this.#periodMs ?? 0));
      this.#addSlot(Math.max(this.#resetAt ?? periodOn, periodOn), now);
    }
    this.#slots.keepLast(this.#limit - this.#remaining);
    if (!known && this.#remaining === 0 && this.#leases.size === 0) this.#canaryLater(now);
    return known;
  }

  #addSlot(at: number, now: number): void {
    // The API had it back before it said the number that we go by.
    if (this.#local(at) <= this.#countedUntil) return;
    this.#slots.add(at, Math.max(this.#periodMs ?? 0, this.#local(at) - now));
  }

  get #periodMs(): number | undefined {
    return this.#period.value ?? this.#believedPeriodMs;
  }

  #headerless(status: number, now: number): void {
    const good = status >= 200 && status < 300;
    if (this.#phase === 'metered') {
      // An API that reports its limits does so on what it counts. A refusal without them came from
      // something in front of the count; a 5xx may have come from behind it.
      const uncounted = this.#observations > 0 && status >= 400 && status < 500;
      if (!uncounted) this.#spend(now);
      return;
    }
    if (this.#phase === 'unopened') this.#probeAt = Number.NEGATIVE_INFINITY;
    if (!good) return;
    this.#phase = 'unmetered';
    this.#window = Math.min(this.#window + 1, MAX_WINDOW);
  }

  /** Whether an answer was given after the one we believe. Causality first, stamps second. */
  #isNewer(lease: Lease, { resetAt, remaining = 0, sameWithinMs }: Observation): boolean {
    const newest = this.#reported;
    if (newest === undefined || lease.observation >= this.#observations) return true;
    if (resetAt !== undefined && newest.resetAt !== undefined) {
      const laterBy = resetAt - newest.resetAt;
      // The coarser of the two says how far apart they can be and still mean the same moment.
      const withinMs = Math.max(sameWithinMs, newest.sameWithinMs);
      if (laterBy > withinMs) return true;
      if (laterBy < -withinMs) return false;
    }
    return remaining < newest.remaining;
  }

  #observe(lease: Lease, observation: Observation, now: number): void {
    const { resetAt, uncertaintyMs, sameWithinMs, remaining: said = 0 } = observation;
    const throttled = observation.status === 429;
    const first = this.#reported === undefined;
    const refilled = this.#heldUntil !== undefined;
    const whole = Math.max(observation.limit ?? this.#limit * this.#replicas, said, 1);
    if (!throttled && (first || refilled) && lease.kind !== 'slot') {
      // A lone answer after a full refill: it says whether this call is in its number.
      if (said === whole) this.#countsBefore = true;
      else if (said === whole - 1) this.#countsBefore = false;
    }
    const limit = this.#share(whole, 1);
    const counted = this.#share(said - (this.#countsBefore && !throttled ? 1 : 0), 0);
    // What was spent without an answer while this one was out may not be in its number yet.
    const missing = this.#losses - lease.losses - lease.loss;
    const remaining = Math.max(0, counted - missing);
    const otherLimit = !first && limit !== this.#limit && remaining > this.#remaining;

    this.#phase = 'metered';
    this.#observations++;
    this.#reported = { remaining: said, resetAt, sameWithinMs };
    this.#limit = limit;
    this.#remaining = remaining;
    this.#uncertaintyMs = uncertaintyMs;
    // More under another limit than before may be a raised quota, or a route with a budget of its
    // own. As with a refill by the clock, one canary tells.
    this.#heldUntil = otherLimit ? now + uncertaintyMs + HOLD_MS : undefined;
    this.#canaryDue = false;
    // A Retry-After is overruled only by an answer to what was granted after it.
    const overruled = !this.#blockedByRetryAfter || lease.observation >= this.#blockObservation;
    if (remaining > 0 && overruled) this.#blockedUntil = undefined;

    const resetLocal = resetAt === undefined ? undefined : this.#local(resetAt);
    if (resetAt !== undefined && resetLocal !== undefined && resetLocal > now) {
      this.#resetAt = resetAt;
      // From when the API counted the call at the earliest; a slow answer does not make it longer.
      const countedAt = Math.max(lease.grantedAt, now - MAX_COUNTING_MS);
      this.#period.add(resetLocal - countedAt, Math.max(64, 2 * limit));
      this.#unknownResetMs = UNKNOWN_RESET_MS.first;
      this.#canaryDueAt = undefined;
    } else {
      this.#resetAt = undefined;
      if (remaining > 0) this.#unknownResetMs = UNKNOWN_RESET_MS.first;
      this.#canaryLater(now);
    }
    // Slots that may be back at the API already are in its number.
    this.#countedUntil = now + uncertaintyMs;
    this.#slots.takeUntil(this.#reporting(this.#countedUntil));
    this.#slots.keepLast(limit - counted);
  }

  #share(count: number, least: number): number {
    return Math.max(least, Math.floor(count / this.#replicas));
  }

  #accepted(lease: Lease): void {
    this.#stuckMs = STUCK_MS.usual;
    this.#throttlesInARow = 0;
    if (lease.trustedClock) this.#latenessMs *= LATENESS_DECAY;
  }

  #throttled(lease: Lease, observation: Observation, now: number, chance: Chance): void {
    if (lease.trustedClock) {
      const most = observation.uncertaintyMs + MAX_LATENESS_MS;
      const raised = this.#latenessMs * 2;
      this.#latenessMs = Math.min(Math.max(raised, FIRST_LATENESS_MS), most);
    }
    if (lease.kind === 'canary') this.#stuckMs = Math.min(this.#stuckMs * 2, STUCK_MS.last);
    // What was out together when the API first refused is one refusal, however many answers it has.
    const sameRefusal = this.#blockedUntil !== undefined && lease.grantedAt <= this.#blockedAt;
    const told = observation.retryAt !== undefined && observation.retryAt > now;
    if (sameRefusal && !told && this.#blockedByRetryAfter) return;
    this.#canaryDueAt = undefined;
    this.#blockObservation = this.#observations;
    this.#blockedByRetryAfter = told;
    if (!sameRefusal) this.#blockedAt = now;
    if (told) {
      this.#blockedUntil = observation.retryAt;
      this.#throttlesInARow = 0;
      return;
    }
    const backAt = Math.min(this.#slotBackAt() ?? Infinity, this.#refillAt() ?? Infinity);
    if (backAt > now && backAt < Infinity) {
      this.#blockedUntil = backAt;
      this.#throttlesInARow = 0;
      return;
    }
    if (sameRefusal) return;
    const most = Math.min(
      UNKNOWN_RESET_MS.first * 2 ** this.#throttlesInARow,
      UNKNOWN_RESET_MS.last,
    );
    this.#throttlesInARow = Math.min(this.#throttlesInARow + 1, 16);
    this.#blockedUntil = now + Math.max(50, most * chance());
  }

  /** Nothing says when something comes back: ask after a while, and less and less often. */
  #canaryLater(now: number): void {
    if (this.#canaryDueAt !== undefined) return;
    this.#canaryDueAt = now + this.#unknownResetMs;
    this.#unknownResetMs = Math.min(this.#unknownResetMs * 2, UNKNOWN_RESET_MS.last);
  }

  #etaUnblocked(rank: number, now: number): number | undefined {
    if (this.#phase !== 'metered') return undefined;
    const available = Math.max(0, this.#available);
    if (rank <= available) return now;
    const refillAt = this.#refillAt();
    const beforeRefill =
      refillAt === undefined
        ? this.#slots.size
        : this.#slots.countBefore(this.#reporting(refillAt - this.#latenessMs));
    const index = rank - available - 1;
    const periods = Math.floor(index / this.#limit);
    const place = index % this.#limit;
    const slotAt = place < beforeRefill ? this.#slots.nth(place) : undefined;
    const at = slotAt === undefined ? refillAt : this.#local(slotAt) + this.#latenessMs;
    if (at === undefined) return undefined;
    if (periods === 0) return at;
    return this.#periodMs === undefined ? undefined : at + periods * this.#periodMs;
  }
}

/** What a grant is: an ordinary slot, a first look at an unknown bucket, or a test of a belief. */
export type GrantKind = 'slot' | 'probe' | 'canary';

/** What somebody else knows of a budget. Every time is on our clock. */
export interface KnownBudget {
  /** What the API said last; `undefined` when it never did. */
  readonly said:
    | {
        readonly limit: number;
        readonly remaining: number;
        readonly resetAt?: number | undefined;
        readonly uncertaintyMs: number;
        readonly periodMs?: number | undefined;
      }
    | undefined;
  /** Until when the API told us to stay away. */
  readonly blockedUntil: number | undefined;
  /** Operations that come back, by when. */
  readonly slots: Iterable<readonly [at: number, count: number]>;
}

/** A grant that has no answer yet. */
export interface Lease {
  readonly kind: GrantKind;
  readonly grantedAt: number;
  /** How many observations there were: an answer to it is newer than all of them. */
  readonly observation: number;
  /** How many had been spent without an answer: its answer may miss those that came after. */
  readonly losses: number;
  /** 1 when it is one of them itself. */
  loss: 0 | 1;
  /** Whether its slot is on the books, though its answer is not. */
  recorded: boolean;
  /** Whether it relied on our reading of the API's clock: a 429 to it says that we were early. */
  readonly trustedClock: boolean;
  /** `expired`: counted as spent without an answer, which may still come. */
  state: 'out' | 'expired' | 'ended';
}

export interface BucketNumbers {
  readonly limit?: number;
  readonly remaining?: number;
  readonly resetInMs?: number;
  readonly blockedForMs?: number;
  readonly leases: number;
}

/** After this long without headers a lease counts as spent; its request goes on. */
const LEASE_MS = 10_000;
/** How long past the uncertainty of a reset the rest waits for the canary's answer. */
const HOLD_MS = 1000;
/** How long before its answer a call was counted, at most. */
const MAX_COUNTING_MS = 1000;
const UNKNOWN_RESET_MS = { first: 1000, last: 60_000 };
const PROBE_MS = { first: 1000, last: 60_000 };
const STUCK_MS = { usual: 60_000, underRetryAfter: 600_000, last: 900_000 };
const FIRST_LATENESS_MS = 50;
const MAX_LATENESS_MS = 2000;
const LATENESS_DECAY = 0.99;
const MAX_WINDOW = 1024;
