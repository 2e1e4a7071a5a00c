import { BucketMap, type BucketBounds } from '../bucket-map.ts';
import type { Transfer, Transferable } from '../transfer.ts';
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
  Shed,
  Ticket,
} from '../ledger.ts';
import { SharedBucket, type SharedBucketOptions, type SharedLedgerState } from './shared-bucket.ts';
import { MAX_STEPS, StepScheduler } from './step-scheduler.ts';
import { makeIds } from './ids.ts';
import { readMessage, readReply, type StepBatch } from './wire.ts';

export interface SharedLedgerOptions extends SharedBucketOptions, BucketBounds {}

/**
 * How long Redis keeps a bucket that never learned a limit: the ten seconds of its lease, and the
 * margin of step.lua. The bound on new buckets within this time keeps invented credentials from
 * filling the server, however fast they come.
 */
const KEPT_IN_REDIS_MS = 20_000;

/**
 * The ledger that all replicas share. A grant is the answer to a step, one round trip away, unless
 * this replica has prefetched a lease. The failover ledger takes over while Redis is away.
 */
export class SharedLedger implements Ledger, Transferable {
  readonly #options: SharedLedgerOptions;
  readonly #buckets: BucketMap<SharedBucket>;
  readonly #scheduler: StepScheduler;
  readonly #state: SharedLedgerState;

  constructor(options: SharedLedgerOptions) {
    this.#options = options;
    this.#scheduler = new StepScheduler(options.socketPermits);
    this.#state = {
      options,
      ids: makeIds(options.replica),
      scheduler: this.#scheduler,
      drainUntil: Number.POSITIVE_INFINITY,
      onRelease: (bucket) => this.#buckets.release(bucket),
    };
    this.#buckets = new BucketMap({
      clock: options.clock,
      bounds: options,
      afterlifeMs: KEPT_IN_REDIS_MS,
      onForget: (bucket) => void bucket.handOver(),
    });
  }

  acquire(ticket: Ticket, signal: CallerSignal, retry?: Retry): Admission {
    const bucket = this.#buckets.use(ticket.bucket.id) ?? this.#create(ticket);
    if (!(bucket instanceof SharedBucket)) return bucket;
    const admission = bucket.acquire(ticket, signal, retry);
    if (admission.kind === 'shed') this.#buckets.release(bucket);
    return admission;
  }

  settle(grant: Grant, outcome: Outcome): void {
    const bucket = this.#buckets.get(grant.ticket.bucket.id);
    if (bucket === undefined) throw new Error('a grant was settled by the wrong ledger');
    bucket.settle(grant, outcome);
  }

  renew(grant: Grant): Grant {
    const bucket = this.#buckets.get(grant.ticket.bucket.id);
    if (bucket === undefined) throw new Error('a grant was renewed at the wrong ledger');
    return bucket.renew(grant);
  }

  refusal(ticket: Ticket): Shed | undefined {
    return this.#buckets.get(ticket.bucket.id)?.refusal(ticket);
  }

  view(bucketId: string): BucketView | undefined {
    return this.#buckets.get(bucketId)?.view();
  }

  etaMs(bucketId: string): number | undefined {
    return this.#buckets.get(bucketId)?.etaMs;
  }

  snapshot(): BucketSnapshot[] {
    return [...this.#buckets.values()].map((bucket) => bucket.snapshot());
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
    this.#state.drainUntil = untilMs;
    for (const bucket of this.#buckets.values()) bucket.drain();
  }

  async close(): Promise<void> {
    const state = this.#state;
    state.drainUntil = Math.min(state.drainUntil, this.#options.clock.now());
    const buckets = [...this.#buckets.values()];
    // In groups, as each takes a last step.
    for (let i = 0; i < buckets.length; i += MAX_STEPS) {
      await Promise.all(buckets.slice(i, i + MAX_STEPS).map((bucket) => bucket.close()));
    }
    this.#scheduler.clear();
  }

  /** Receives what another replica's step published to this replica's channel. */
  receive(text: string): void {
    const message = readMessage(text);
    if (message !== undefined) this.#buckets.get(message.bucket)?.receive(message);
  }

  /** Takes a step on the bucket that grants nothing; rejects when it fails. */
  async probe(bucketId: string): Promise<void> {
    const { step, replica, clock, timeoutMs, maxQueue } = this.#options;
    const batch: StepBatch = {
      bucket: bucketId,
      replica,
      epoch: this.#scheduler.nextEpoch(),
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
    if (status !== 'ok') {
      throw new Error(`expected a probing step to be answered ok, got ${status}`);
    }
  }

  handOver(bucketId?: string): Transfer {
    const all = this.#buckets.select(bucketId).map((bucket) => {
      this.#buckets.remove(bucket);
      return bucket.handOver();
    });
    if (bucketId === undefined) this.#scheduler.clear();
    return {
      waiting: all
        .flatMap(({ waiting }) => waiting)
        .sort((a, b) => a.ticket.arrivedAt - b.ticket.arrivedAt),
      held: all.flatMap(({ held }) => held),
      known: all.flatMap(({ known }) => known),
    };
  }

  takeOver({ waiting, held, known }: Transfer, paused: ReadonlySet<string>): void {
    const byBucket = new Map<string, { name: BucketName; owner: string } & Writable>();
    const transferOf = (name: BucketName, owner: string): Writable => {
      const transfer = byBucket.get(name.id) ?? { name, owner, waiting: [], held: [], known: [] };
      byBucket.set(name.id, transfer);
      return transfer;
    };
    for (const bucket of known) transferOf(bucket.name, bucket.owner).known.push(bucket);
    for (const waiter of waiting) {
      const { bucket, owner } = waiter.ticket;
      transferOf(bucket, owner).waiting.push(waiter);
    }
    for (const one of held) {
      const { bucket, owner } = one.grant.ticket;
      transferOf(bucket, owner).held.push(one);
    }
    for (const transfer of byBucket.values()) {
      const bucket = this.#adopt(transfer.name, transfer.owner);
      bucket.takeOver(transfer);
      if (paused.has(transfer.name.id)) bucket.pause();
      // A bucket with nothing to declare now declares what it knows with its next step.
      const hasSpent = transfer.known.some(({ since }) => since.size > 0);
      if (hasSpent || transfer.waiting.length + transfer.held.length > 0) bucket.step();
      this.#buckets.release(bucket);
    }
  }

  /** The bucket of a ticket that has none yet, unless there are too many. */
  #create({ bucket: name, owner }: Ticket): SharedBucket | Shed {
    const refused = this.#buckets.refusal(owner);
    if (refused !== undefined) return refused;
    const bucket = new SharedBucket(name, owner, this.#state);
    this.#buckets.add(bucket, owner);
    return bucket;
  }

  /** The bucket for what another ledger passes on. */
  #adopt(name: BucketName, owner: string): SharedBucket {
    const existing = this.#buckets.use(name.id);
    if (existing !== undefined) return existing;
    const bucket = new SharedBucket(name, owner, this.#state);
    this.#buckets.adopt(bucket, owner);
    return bucket;
  }
}

type Writable = { -readonly [Part in keyof Transfer]: Transfer[Part][number][] };
