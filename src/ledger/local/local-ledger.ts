import { BucketMap } from '../bucket-map.ts';
import type { BucketOptions } from '../bucket-options.ts';
import type { Transfer, HeldGrant, Transferable } from '../transfer.ts';
import { HeldGrants } from '../held-grants.ts';
import { KnownBucket } from '../known-bucket.ts';
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
import { LocalBucket, type LocalCommons } from './local-bucket.ts';

export interface LocalLedgerOptions extends BucketOptions {
  /**
   * Whether it stands in for the shared ledger: over how many replicas each budget is divided, and
   * what it learns is kept for when the other comes back.
   */
  readonly standIn?: { readonly replicas: () => number } | undefined;
  /** Buckets kept; beyond them idle ones are forgotten, the longest unused first. */
  readonly maxBuckets?: number;
}

/** The ledger in this process: nothing to install, nothing shared. Grants at once when it can. */
export class LocalLedger implements Ledger, Transferable {
  readonly #options: LocalLedgerOptions;
  readonly #buckets: BucketMap<LocalBucket>;
  readonly #commons: LocalCommons;
  /** Over how many replicas budgets are divided, from one takeover to the next. */
  #replicas: number;

  constructor(options: LocalLedgerOptions) {
    this.#options = options;
    this.#replicas = options.standIn?.replicas() ?? 1;
    this.#buckets = new BucketMap({ most: options.maxBuckets, isIdle: (bucket) => bucket.idle });
    this.#commons = {
      options,
      drainUntil: Number.POSITIVE_INFINITY,
      grants: new HeldGrants(),
      starved: new Set(),
    };
    options.places.onFree(() => this.#serveStarved());
  }

  acquire(ticket: Ticket, signal: CallerSignal, retry?: Retry): Admission {
    return this.#bucketFor(ticket.bucket).acquire(ticket, signal, retry);
  }

  settle(grant: Grant, outcome: Outcome): void {
    const { bucket, lease } = this.#commons.grants.take(grant);
    bucket.settle(lease, outcome);
  }

  view(bucketId: string): BucketView | undefined {
    return this.#buckets.get(bucketId)?.view();
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
    this.#commons.drainUntil = untilMs;
    for (const bucket of this.#buckets.values()) bucket.drain();
  }

  handOver(): Transfer {
    const { grants, starved } = this.#commons;
    const buckets = [...this.#buckets.values()];
    const waiting = buckets.flatMap((bucket) => bucket.handOver());
    const held = grants.all.map(({ grant, known: { lease } }): HeldGrant => {
      return { grant, kind: lease.kind };
    });
    this.#buckets.clear();
    grants.clear();
    starved.clear();
    return {
      waiting: waiting.sort((a, b) => a.ticket.arrivedAt - b.ticket.arrivedAt),
      held,
      known: buckets.flatMap(({ known }) => known ?? []),
    };
  }

  takeOver({ waiting, held, known }: Transfer): void {
    this.#replicas = this.#options.standIn?.replicas() ?? 1;
    for (const each of known) this.#bucketFor(each.name, each);
    for (const { grant, kind } of [...held].sort(byGrantTime)) {
      this.#bucketFor(grant.ticket.bucket).adopt(grant, kind);
    }
    for (const waiter of waiting) this.#bucketFor(waiter.ticket.bucket).takeIn(waiter);
    for (const bucket of this.#buckets.values()) bucket.serve();
  }

  close(): Promise<void> {
    this.#commons.drainUntil = this.#options.clock.now();
    for (const bucket of this.#buckets.values()) bucket.close();
    this.#buckets.clear();
    this.#commons.starved.clear();
    return Promise.resolve();
  }

  /** A socket came free: one grant each, in turn, to the buckets that went without. */
  #serveStarved(): void {
    // Whoever wants more goes to the end of the line, which this loop reaches: a set is walked as it grows.
    for (const bucket of this.#commons.starved) if (!bucket.serveOne()) return;
  }

  #bucketFor(name: BucketName, known?: KnownBucket): LocalBucket {
    const existing = this.#buckets.use(name.id);
    if (existing !== undefined) return existing;
    const { standIn } = this.#options;
    const bucket = new LocalBucket(
      name,
      this.#commons,
      standIn && {
        known: known ?? new KnownBucket(name),
        replicas: this.#replicas,
      },
    );
    this.#buckets.add(name.id, bucket);
    return bucket;
  }
}

function byGrantTime(a: HeldGrant, b: HeldGrant): number {
  return a.grant.grantedAt - b.grant.grantedAt;
}
