import { BucketMap, type BucketBounds } from '../bucket-map.ts';
import { HeldGrants } from '../held-grants.ts';
import type {
  Admission,
  Retry,
  BucketName,
  BucketOptions,
  BucketSnapshot,
  BucketView,
  Grant,
  CallerSignal,
  Ledger,
  Outcome,
  Shed,
  Ticket,
} from '../ledger.ts';
import {
  KnownBucket,
  type TransferredGrant,
  type Transfer,
  type Transferable,
} from '../transfer.ts';
import { LocalBucket, type LocalLedgerState } from './local-bucket.ts';

export interface LocalLedgerOptions extends BucketOptions, BucketBounds {
  /**
   * Set when it stands in for the shared ledger: each budget is divided over `replicas`, and what it
   * learns is kept for the shared ledger.
   */
  readonly standIn?: { readonly replicas: () => number } | undefined;
}

/** The ledger in this process: nothing to install, nothing shared. Grants at once if it can. */
export class LocalLedger implements Ledger, Transferable {
  readonly #options: LocalLedgerOptions;
  readonly #buckets: BucketMap<LocalBucket>;
  readonly #state: LocalLedgerState;
  /** How many replicas share each budget, from one takeover to the next. */
  #replicas: number;

  constructor(options: LocalLedgerOptions) {
    this.#options = options;
    this.#replicas = options.standIn?.replicas() ?? 1;
    this.#buckets = new BucketMap({
      clock: options.clock,
      bounds: options,
      afterlifeMs: 0,
      onForget: () => undefined,
    });
    this.#state = {
      options,
      drainUntil: Number.POSITIVE_INFINITY,
      grants: new HeldGrants(),
      starved: new Set(),
      onEmpty: (bucket) => this.#buckets.release(bucket),
    };
    options.socketPermits.onFree(() => this.#serveStarved());
  }

  acquire(ticket: Ticket, signal: CallerSignal, retry?: Retry): Admission {
    const bucket = this.#buckets.use(ticket.bucket.id) ?? this.#create(ticket);
    if (!(bucket instanceof LocalBucket)) return bucket;
    const admission = bucket.acquire(ticket, signal, retry);
    if (admission.kind === 'shed') this.#buckets.release(bucket);
    return admission;
  }

  settle(grant: Grant, outcome: Outcome): void {
    const { bucket, lease } = this.#state.grants.take(grant);
    bucket.settle(lease, outcome);
    this.#buckets.release(bucket);
  }

  renew(grant: Grant): Grant {
    const { bucket, lease } = this.#state.grants.take(grant);
    return bucket.renew(grant, lease);
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

  handOver(bucketId?: string): Transfer {
    const { grants, starved } = this.#state;
    const buckets = this.#buckets.select(bucketId);
    const waiting = buckets.flatMap((bucket) => bucket.handOver());
    const held: TransferredGrant[] = [];
    for (const { grant, known } of grants.all) {
      if (bucketId !== undefined && grant.ticket.bucket.id !== bucketId) continue;
      held.push({ grant, kind: known.lease.kind, cost: known.lease.cost });
      grants.take(grant);
    }
    for (const bucket of buckets) {
      this.#buckets.remove(bucket);
      starved.delete(bucket);
    }
    return {
      waiting: waiting.sort((a, b) => a.ticket.arrivedAt - b.ticket.arrivedAt),
      held,
      known: buckets.flatMap(({ known }) => known ?? []),
    };
  }

  takeOver({ waiting, held, known }: Transfer, paused: ReadonlySet<string>): void {
    this.#replicas = this.#options.standIn?.replicas() ?? 1;
    for (const each of known) this.#adopt(each.name, each.owner, each);
    for (const one of [...held].sort(byGrantTime)) {
      const { bucket, owner } = one.grant.ticket;
      this.#adopt(bucket, owner).adopt(one);
    }
    for (const waiter of waiting) {
      const { bucket, owner } = waiter.ticket;
      this.#adopt(bucket, owner).adoptWaiter(waiter);
    }
    for (const bucket of this.#buckets.values()) {
      if (paused.has(bucket.name.id)) bucket.pause();
      bucket.serve();
      this.#buckets.release(bucket);
    }
  }

  close(): Promise<void> {
    this.#state.drainUntil = this.#options.clock.now();
    for (const bucket of this.#buckets.values()) bucket.close();
    this.#buckets.clear();
    this.#state.starved.clear();
    return Promise.resolve();
  }

  /** A socket became free: the buckets that wait for one get a grant each, in turn. */
  #serveStarved(): void {
    // A bucket that needs another one is added to the set again, and this loop reaches it.
    for (const bucket of this.#state.starved) if (!bucket.serveOne()) return;
  }

  /** The bucket of a ticket that has none yet, unless there are too many. */
  #create({ bucket: name, owner }: Ticket): LocalBucket | Shed {
    const refused = this.#buckets.refusal(owner);
    if (refused !== undefined) return refused;
    const bucket = this.#newBucket(name, owner);
    this.#buckets.add(bucket, owner);
    return bucket;
  }

  /** The bucket for what another ledger passes on. */
  #adopt(name: BucketName, owner: string, known?: KnownBucket): LocalBucket {
    const existing = this.#buckets.use(name.id);
    if (existing !== undefined) return existing;
    const bucket = this.#newBucket(name, owner, known);
    this.#buckets.adopt(bucket, owner);
    return bucket;
  }

  #newBucket(name: BucketName, owner: string, known?: KnownBucket): LocalBucket {
    const { standIn } = this.#options;
    return new LocalBucket(
      name,
      this.#state,
      standIn && {
        known: known ?? new KnownBucket(name, owner),
        replicas: this.#replicas,
      },
    );
  }
}

function byGrantTime(a: TransferredGrant, b: TransferredGrant): number {
  return a.grant.grantedAt - b.grant.grantedAt;
}
