import { BucketMap } from '../bucket-map.ts';
import type { Transfer, Transferable } from '../transfer.ts';
import { makeIds, type Ids } from './ids.ts';
import { inTime } from './in-time.ts';
import type {
  Admission,
  Retry,
  BucketName,
  BucketSnapshot,
  BucketView,
  Grant,
  CallerSignal,
  Ledger,
  Outcome,
  Ticket,
} from '../ledger.ts';
import { SharedBucket, type SharedBucketOptions } from './shared-bucket.ts';
import { readMessage, readReply, type StepBatch } from './wire.ts';
import { waitingByCaller } from '../waiting-by-caller.ts';

export interface SharedLedgerOptions extends Omit<
  SharedBucketOptions,
  | 'nextEpoch'
  | 'ids'
  | 'drainUntil'
  | 'onTrouble'
  | 'mayStep'
  | 'stepOver'
  | 'onStarved'
  | 'someStarve'
> {
  /** A step failed; called once for each that does. */
  readonly onTrouble?: (error: Error, bucketId: string) => void;
  /** Buckets kept; beyond them idle ones are forgotten, the longest unused first. */
  readonly maxBuckets?: number;
}

/**
 * The ledger that all replicas share. A grant is the answer to a step, one round trip away, but for
 * those that a replica has in stock. What it cannot do while Redis is away is the failover ledger's
 * business.
 */
export class SharedLedger implements Ledger, Transferable {
  readonly #options: SharedLedgerOptions;
  readonly #buckets: BucketMap<SharedBucket>;
  readonly #ids: Ids;
  readonly #starved = new Set<SharedBucket>();
  /** Those of them that take a step now because a socket is free. */
  readonly #turns = new Set<SharedBucket>();
  /** Buckets that want to take a step and wait for others' to be over, in the order of asking. */
  readonly #atGate = new Set<SharedBucket>();
  #stepsUnderWay = 0;
  #epoch = 0;
  #drainUntil = Number.POSITIVE_INFINITY;

  constructor(options: SharedLedgerOptions) {
    this.#options = options;
    this.#ids = makeIds(options.replica);
    this.#buckets = new BucketMap({
      most: options.maxBuckets,
      isIdle: (bucket) => bucket.idle,
      onForgotten: (bucket) => this.#forget(bucket),
    });
    options.places.onFree(() => this.#serveStarved());
  }

  acquire(ticket: Ticket, signal: CallerSignal, retry?: Retry): Admission {
    return this.#bucketFor(ticket.bucket).acquire(ticket, signal, retry);
  }

  settle(grant: Grant, outcome: Outcome): void {
    const bucket = this.#buckets.get(grant.ticket.bucket.id);
    if (bucket === undefined) throw new Error('a grant was settled by the wrong ledger');
    bucket.settle(grant, outcome);
  }

  /** The numbers of this bucket's last step here, a step's age old. */
  view(bucketId: string): BucketView | undefined {
    const bucket = this.#buckets.get(bucketId);
    if (bucket === undefined) return undefined;
    const { numbers, ageMs } = bucket.numbers;
    const { limit, remaining, leases, waiting } = numbers;
    const resetInMs = (numbers.resetIn ?? 0) - ageMs;
    const blockedForMs = (numbers.blockedFor ?? 0) - ageMs;
    return {
      id: bucket.name.id,
      class: bucket.name.class,
      ...(limit === undefined ? {} : { limit }),
      ...(remaining === undefined ? {} : { remaining }),
      ...(resetInMs > 0 ? { resetInMs } : {}),
      ...(blockedForMs > 0 ? { blockedForMs } : {}),
      leases,
      waiting: waiting + bucket.parked,
      ...(bucket.paused ? { paused: true } : {}),
    };
  }

  /** `waiting` counts all replicas' tickets, `waitingByCaller` those of this one. */
  snapshot(): BucketSnapshot[] {
    return [...this.#buckets].flatMap(([id, bucket]) => {
      const view = this.view(id);
      if (view === undefined) return [];
      const { numbers, ageMs } = bucket.numbers;
      return [
        {
          ...view,
          ...(numbers.etaIn === undefined ? {} : { etaMs: Math.max(0, numbers.etaIn - ageMs) }),
          waitingByCaller: waitingByCaller(bucket.tickets),
        },
      ];
    });
  }

  pause(bucketId: string): boolean {
    const bucket = this.#buckets.get(bucketId);
    bucket?.pause();
    return bucket !== undefined;
  }

  resume(bucketId: string): boolean {
    const bucket = this.#buckets.get(bucketId);
    bucket?.resume();
    return bucket !== undefined;
  }

  drain(untilMs: number): void {
    this.#drainUntil = untilMs;
    for (const bucket of this.#buckets.values()) bucket.drain();
  }

  async close(): Promise<void> {
    this.#drainUntil = Math.min(this.#drainUntil, this.#options.clock.now());
    const buckets = [...this.#buckets.values()];
    // A few at a time: each has a last step to take.
    for (let i = 0; i < buckets.length; i += MOST_STEPS) {
      await Promise.all(buckets.slice(i, i + MOST_STEPS).map((bucket) => bucket.close()));
    }
    this.#starved.clear();
    this.#turns.clear();
  }

  /** What another replica's step published to our channel. */
  hear(text: string): void {
    const message = readMessage(text);
    if (message !== undefined) this.#buckets.get(message.bucket)?.hear(message);
  }

  /** Resolves when a step on the bucket succeeds, one that serves nobody; rejects when not. */
  async probe(bucketId: string): Promise<void> {
    const { step, replica, clock, timeoutMs, maxQueue } = this.#options;
    const batch: StepBatch = {
      bucket: bucketId,
      replica,
      epoch: ++this.#epoch,
      sequence: 1,
      lineage: '',
      revision: 0,
      declares: true,
      probes: true,
      free: 0,
      maxQueue,
      sheds: 0,
      held: [],
      settled: [],
      stock: 0,
      wants: 0,
      gone: [],
      tickets: [],
    };
    const text = await inTime(step(bucketId, JSON.stringify(batch)), timeoutMs, clock);
    const { status } = readReply(text);
    if (status !== 'ok') throw new Error(`the probe of a step was answered ${status}`);
  }

  handOver(): Transfer {
    const all = [...this.#buckets.values()].map((bucket) => bucket.handOver());
    this.#buckets.clear();
    this.#starved.clear();
    this.#turns.clear();
    this.#atGate.clear();
    return {
      waiting: all
        .flatMap(({ waiting }) => waiting)
        .sort((a, b) => a.ticket.arrivedAt - b.ticket.arrivedAt),
      held: all.flatMap(({ held }) => held),
      known: all.flatMap(({ known }) => known),
    };
  }

  takeOver({ waiting, held, known }: Transfer): void {
    const byBucket = new Map<string, { name: BucketName } & Writable>();
    const partOf = (name: BucketName): Writable => {
      const part = byBucket.get(name.id) ?? { name, waiting: [], held: [], known: [] };
      byBucket.set(name.id, part);
      return part;
    };
    for (const waiter of waiting) partOf(waiter.ticket.bucket).waiting.push(waiter);
    for (const one of held) partOf(one.grant.ticket.bucket).held.push(one);
    for (const bucket of known) partOf(bucket.name).known.push(bucket);
    for (const part of byBucket.values()) {
      const bucket = this.#bucketFor(part.name);
      bucket.takeOver(part);
      // What holds nothing declares what it knows when it is next asked for.
      const news = part.known.some(({ since }) => since.size > 0);
      if (news || part.waiting.length + part.held.length > 0) bucket.step();
    }
  }

  #bucketFor(name: BucketName): SharedBucket {
    const known = this.#buckets.use(name.id);
    if (known !== undefined) return known;
    const options = this.#options;
    const bucket: SharedBucket = new SharedBucket(name, {
      ...options,
      // These may change while a bucket lives.
      get maxQueue() {
        return options.maxQueue;
      },
      get belief() {
        return options.belief;
      },
      nextEpoch: () => ++this.#epoch,
      ids: this.#ids,
      drainUntil: () => this.#drainUntil,
      onTrouble: (error) => this.#options.onTrouble?.(error, name.id),
      mayStep: (asking) => this.#mayStep(asking),
      stepOver: () => this.#stepOver(bucket),
      onStarved: (starved) => this.#starved.add(starved),
      someStarve: () => this.#starved.size + this.#turns.size > 0,
    });
    this.#buckets.add(name.id, bucket);
    return bucket;
  }

  #forget(bucket: SharedBucket): void {
    bucket.handOver();
    for (const all of [this.#starved, this.#turns, this.#atGate]) all.delete(bucket);
  }

  #mayStep(bucket: SharedBucket): boolean {
    if (this.#stepsUnderWay >= MOST_STEPS) {
      this.#atGate.add(bucket);
      return false;
    }
    this.#stepsUnderWay++;
    this.#atGate.delete(bucket);
    return true;
  }

  #stepOver(bucketOver: SharedBucket): void {
    this.#stepsUnderWay--;
    for (const bucket of this.#atGate) {
      this.#atGate.delete(bucket);
      if (bucket.proceed()) break;
    }
    if (bucketOver.stepping || !this.#turns.delete(bucketOver)) return;
    // It may have had no budget for the socket that it had its turn at: on to the next.
    if (this.#starved.size > 0) this.#serveStarved();
  }

  /** Sockets came free: a step each, in turn, for the buckets that went without. */
  #serveStarved(): void {
    let free = this.#options.places.free - this.#turns.size;
    // A bucket that is still without goes to the end of the line; it has its turn next time.
    for (const bucket of Array.from(this.#starved)) {
      if (free <= 0) break;
      this.#starved.delete(bucket);
      if (!bucket.wantsPlace) continue;
      free--;
      this.#turns.add(bucket);
      bucket.step();
    }
  }
}

/**
 * StepLoop of this replica that may be under way at once. A thousand buckets that all have something
 * to say in one moment would else wait for each other in the server, and take that for an outage.
 */
const MOST_STEPS = 64;

type Writable = { -readonly [Part in keyof Transfer]: Transfer[Part][number][] };
