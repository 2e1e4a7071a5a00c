import { BucketMap } from '../bucket-map.ts';
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
  Ticket,
} from '../ledger.ts';
import { SharedBucket, type SharedBucketOptions, type SharedLedgerState } from './shared-bucket.ts';
import { MAX_STEPS, StepScheduler } from './step-scheduler.ts';
import { makeIds, readMessage, readReply, type StepBatch } from './wire.ts';
import { waitingByCaller } from '../waiters.ts';

export interface SharedLedgerOptions extends SharedBucketOptions {
  /** Buckets kept; beyond them idle ones are forgotten, the longest unused first. */
  readonly maxBuckets?: number;
}

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
    };
    this.#buckets = new BucketMap(options.maxBuckets);
  }

  acquire(ticket: Ticket, signal: CallerSignal, retry?: Retry): Admission {
    return this.#bucketFor(ticket.bucket).acquire(ticket, signal, retry);
  }

  settle(grant: Grant, outcome: Outcome): void {
    const bucket = this.#buckets.get(grant.ticket.bucket.id);
    if (bucket === undefined) throw new Error('a grant was settled by the wrong ledger');
    bucket.settle(grant, outcome);
  }

  /** The bucket's numbers by the last step of this replica. */
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

  /** `waiting` counts all replicas' tickets, `waitingByCaller` only those of this replica. */
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

  handOver(): Transfer {
    const all = [...this.#buckets.values()].map((bucket) => bucket.handOver());
    this.#buckets.clear();
    this.#scheduler.clear();
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
    const transferOf = (name: BucketName): Writable => {
      const transfer = byBucket.get(name.id) ?? { name, waiting: [], held: [], known: [] };
      byBucket.set(name.id, transfer);
      return transfer;
    };
    for (const waiter of waiting) transferOf(waiter.ticket.bucket).waiting.push(waiter);
    for (const one of held) transferOf(one.grant.ticket.bucket).held.push(one);
    for (const bucket of known) transferOf(bucket.name).known.push(bucket);
    for (const transfer of byBucket.values()) {
      const bucket = this.#bucketFor(transfer.name);
      bucket.takeOver(transfer);
      // A bucket with nothing to declare now declares what it knows with its next step.
      const hasSpent = transfer.known.some(({ since }) => since.size > 0);
      if (hasSpent || transfer.waiting.length + transfer.held.length > 0) bucket.step();
    }
  }

  #bucketFor(name: BucketName): SharedBucket {
    const known = this.#buckets.use(name.id);
    if (known !== undefined) return known;
    const bucket = new SharedBucket(name, this.#state);
    this.#buckets.add(name.id, bucket)?.handOver();
    return bucket;
  }
}

type Writable = { -readonly [Part in keyof Transfer]: Transfer[Part][number][] };
