import type { Clock } from '../util/clock.ts';
import { LinkedList, type LinkedListItem } from '../util/linked-list.ts';
import { isQuota, type BucketName, type Shed } from './ledger.ts';

/** A bucket of a {@link BucketMap}, which owns the fields of this interface but the first two. */
export interface MappedBucket<T> extends LinkedListItem<T> {
  readonly name: BucketName;
  /** No grant is held, no ticket waits, and nothing is left to report: it may be forgotten. */
  readonly idle: boolean;
  /** Who created it; `undefined` while it is not in the map. */
  account: BucketAccount | undefined;
}

/** What the map counts of one owner. */
interface BucketAccount {
  readonly owner: string;
  readonly creations: Creations;
  /** Its buckets in the map, and how many of them are in the list of idle ones. */
  kept: number;
  idle: number;
}

/** How many buckets a ledger keeps. The values may change while it lives. */
export interface BucketBounds {
  /** All buckets. Beyond them, idle ones are forgotten, the longest unused first. */
  readonly maxBuckets?: number | undefined;
  /** Buckets in use that one owner created. */
  readonly maxBucketsPerOwner?: number | undefined;
}

export interface BucketMapOptions<T> {
  readonly clock: Clock;
  readonly bounds: BucketBounds;
  /**
   * How long a bucket takes up room elsewhere after this process has forgotten it; 0 if it does not.
   * Then the bounds hold for new buckets too: as many at once, and as many per this time after that.
   * So elsewhere there are never more than twice as many.
   */
  readonly afterlifeMs: number;
  /** A bucket was forgotten. */
  readonly onForget: (bucket: T) => void;
}

const DEFAULT_MAX_BUCKETS = 10_000;

/** A twentieth of all buckets, but at least 100. */
export function defaultMaxPerOwner(maxBuckets: number): number {
  return Math.max(100, Math.ceil(maxBuckets / 20));
}

/** When the caller of a refused ticket should try again, if no forecast is possible. */
const BUSY_RETRY_MS = 5000;

/**
 * A bounded number of buckets by id. Callers can invent credentials, so no operation searches: each
 * takes O(1), however many buckets are in use.
 *
 * A bucket is in use, or it is in the list of idle buckets, the longest unused first. {@link use}
 * removes it from the list, and {@link release} adds it again. The ledger calls `release` after each call of
 * its contract that may end a use. The bucket causes it after what ends a use without such a call: a
 * deadline, a caller that has gone, a step. A bucket in the list may be in use again, for example when
 * it is paused or takes a step by itself. So a bucket is checked before it is forgotten.
 *
 * When all buckets are in use, or one owner has too many of them, a new one is refused. Buckets that
 * exist are not concerned.
 */
export class BucketMap<T extends MappedBucket<T>> {
  readonly #options: BucketMapOptions<T>;
  readonly #buckets = new Map<string, T>();
  readonly #accounts = new Map<string, BucketAccount>();
  readonly #creations = new Creations();
  readonly #idle = new LinkedList<T>();

  constructor(options: BucketMapOptions<T>) {
    this.#options = options;
  }

  /** Looks at a bucket without using it. */
  get(id: string): T | undefined {
    return this.#buckets.get(id);
  }

  /** Uses a bucket, until {@link release}; `undefined` when there is none. */
  use(id: string): T | undefined {
    const bucket = this.#buckets.get(id);
    if (bucket !== undefined) this.#unlink(bucket);
    return bucket;
  }

  /** Ends the use of a bucket, unless it is still in use for another reason. */
  release(bucket: T): void {
    const { account } = bucket;
    if (account === undefined || bucket.isLinked || !bucket.idle) return;
    // What is spent of a quota is known here alone, and the settings bound their number.
    if (isQuota(bucket.name)) return;
    this.#idle.add(bucket);
    account.idle++;
  }

  /** Makes room for a new bucket, and {@link add} follows; or returns why there is none. */
  refusal(owner: string): Shed | undefined {
    const { clock, afterlifeMs } = this.#options;
    const now = clock.now();
    const account = this.#accounts.get(owner);
    if (account !== undefined) {
      const most = this.#maxPerOwner;
      const isFull = account.kept - account.idle >= most;
      const waitMs = isFull ? BUSY_RETRY_MS : account.creations.waitMs(now, most, afterlifeMs);
      if (waitMs > 0) return shed('too-many-buckets-of-owner', waitMs);
    }
    const most = this.#max;
    const waitMs = this.#creations.waitMs(now, most, afterlifeMs);
    if (waitMs > 0) return shed('too-many-buckets', waitMs);
    return this.#makeRoom(most) ? undefined : shed('too-many-buckets', BUSY_RETRY_MS);
  }

  /** Adds a bucket that is new, in use, and counts for the bounds of new buckets. */
  add(bucket: T, owner: string): void {
    const { clock, afterlifeMs } = this.#options;
    this.adopt(bucket, owner);
    const now = clock.now();
    bucket.account?.creations.count(now, this.#maxPerOwner, afterlifeMs);
    this.#creations.count(now, this.#max, afterlifeMs);
  }

  /** Adds a bucket that another ledger kept. It is never refused, since calls depend on it. */
  adopt(bucket: T, owner: string): void {
    let account = this.#accounts.get(owner);
    if (account === undefined) {
      account = { owner, creations: new Creations(), kept: 0, idle: 0 };
      this.#accounts.set(owner, account);
    }
    account.kept++;
    bucket.account = account;
    this.#buckets.set(bucket.name.id, bucket);
  }

  values(): IterableIterator<T> {
    return this.#buckets.values();
  }

  /** All buckets, or the one with this id, as a new array. */
  select(id: string | undefined): T[] {
    if (id === undefined) return [...this.#buckets.values()];
    const bucket = this.#buckets.get(id);
    return bucket === undefined ? [] : [bucket];
  }

  /** Removes a bucket, whatever its state. */
  remove(bucket: T): void {
    const { account } = bucket;
    if (account === undefined) return;
    this.#unlink(bucket);
    bucket.account = undefined;
    this.#buckets.delete(bucket.name.id);
    account.kept--;
    if (account.kept === 0) this.#accounts.delete(account.owner);
  }

  clear(): void {
    for (const bucket of this.#buckets.values()) this.remove(bucket);
  }

  get #max(): number {
    return this.#options.bounds.maxBuckets ?? DEFAULT_MAX_BUCKETS;
  }

  get #maxPerOwner(): number {
    return this.#options.bounds.maxBucketsPerOwner ?? defaultMaxPerOwner(this.#max);
  }

  /** Forgets idle buckets until there is room for one; returns whether there is. */
  #makeRoom(most: number): boolean {
    while (this.#buckets.size >= most) {
      const { first } = this.#idle;
      if (first === undefined) return false;
      if (!first.idle) {
        this.#unlink(first);
        continue;
      }
      this.remove(first);
      this.#options.onForget(first);
    }
    return true;
  }

  #unlink(bucket: T): void {
    if (this.#idle.delete(bucket) && bucket.account !== undefined) bucket.account.idle--;
  }
}

function shed(code: Shed['code'], retryAfterMs: number): Shed {
  return { kind: 'shed', code, retryAfterMs };
}

/**
 * Bounds how many buckets are created within a time, by one number: the generic cell rate algorithm
 * (ITU-T I.371). `most` may be created at once, and then one every `withinMs / most`.
 */
class Creations {
  /** When none of them counts any more, on `Clock.now`. */
  #countsUntil = 0;

  /** How long the next creation has to wait; 0 when it does not. */
  waitMs(now: number, most: number, withinMs: number): number {
    const waitMs = this.#next(now, most, withinMs) - now - withinMs;
    // The sum of many fractions is not exact.
    return waitMs > ROUNDING_MS ? waitMs : 0;
  }

  count(now: number, most: number, withinMs: number): void {
    this.#countsUntil = this.#next(now, most, withinMs);
  }

  #next(now: number, most: number, withinMs: number): number {
    return Math.max(this.#countsUntil, now) + withinMs / most;
  }
}

const ROUNDING_MS = 1e-3;
