import type { Random, Clock, Timer } from '../util/clock.ts';
import type { Log } from '../telemetry/log.ts';
import { BucketTrouble } from './shared/bucket-trouble.ts';
import type { Transferable } from './transfer.ts';
import type {
  Admission,
  Retry,
  BucketSnapshot,
  BucketView,
  Grant,
  CallerSignal,
  Ledger,
  LedgerObserver,
  Outcome,
  Shed,
  Ticket,
} from './ledger.ts';

export interface FailoverLedgerOptions {
  readonly shared: Ledger & Transferable;
  readonly local: Ledger & Transferable;
  /** Health check: resolves when Redis answers, for a named bucket with a successful step. */
  readonly probe: (bucketId: string | undefined) => Promise<void>;
  /** Opens the connections to Redis again, because probes over them fail. */
  readonly renew: () => void;
  /** How many replicas share each budget while Redis is away, as seen last. */
  readonly replicas: () => number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly observer: Pick<LedgerObserver, 'mode'>;
}

/** The longest delay of the first probe. It doubles with each failed probe, up to the last. */
const BACKOFF_MS = { first: 500, last: 10_000 };
/**
 * The connections are opened again after each fourth failed probe. An open connection may lead to a
 * server that a failover has replaced, while its name leads to the new one by now.
 */
const RENEW_EVERY = 4;
/** After working for this long the shared ledger has recovered: the next outage starts a new backoff. */
const RECOVERED_MS = 10_000;
/** With more buckets in trouble than this, the trouble is no longer that of single buckets. */
const MAX_TROUBLED = 100;

/** A bucket whose data in Redis is in trouble, or was until a short while ago. */
interface TroubledBucket {
  /** Whether the local ledger keeps it. */
  isLocal: boolean;
  failures: number;
  /** Ends in the next probe, or after a recovery in forgetting the trouble. */
  timer: Timer | undefined;
}

/**
 * The shared ledger while it works, and a local one with a share of each budget while it does not.
 * Waiting tickets and held grants move to the ledger in use, and their callers notice nothing.
 *
 * It is a circuit breaker that opens at the first failure. A probe does not let a request through as
 * a half-open breaker would: it tests Redis itself.
 *
 *      closed                                           open
 *     ┌───────┐   a step fails or takes too long   ┌───────┐
 *     │ redis │ ─────────────────────────────────▶ │ local │ ──┐ a probe fails:
 *     └───────┘ ◀───────────────────────────────── └───────┘ ◀─┘ the next delay is longer
 *                 a probe succeeds
 *
 * Trouble with the data of one bucket ({@link BucketTrouble}) opens the circuit for this bucket only.
 * It moves to the local ledger, is probed by a step of its own with the same delays, and moves back.
 * All others stay in Redis. With more than 100 such buckets, or when the server fails, all move.
 */
export class FailoverLedger implements Ledger {
  readonly #options: FailoverLedgerOptions;
  #mode: 'redis' | 'local' = 'redis';
  #failures = 0;
  #sharedSince: number;
  #timer: Timer | undefined;
  /** The bucket whose step failed: a cluster may have lost one node of several. */
  #troubledBucket: string | undefined;
  readonly #paused = new Set<string>();
  /** Empty while the local ledger is in use for all. */
  readonly #troubled = new Map<string, TroubledBucket>();
  #closed = false;

  constructor(options: FailoverLedgerOptions) {
    this.#options = options;
    this.#sharedSince = options.clock.now();
    options.observer.mode('redis');
  }

  get mode(): 'redis' | 'local' {
    return this.#mode;
  }

  acquire(ticket: Ticket, signal: CallerSignal, retry?: Retry): Admission {
    return this.#ledgerOf(ticket.bucket.id).acquire(ticket, signal, retry);
  }

  settle(grant: Grant, outcome: Outcome): void {
    this.#ledgerOf(grant.ticket.bucket.id).settle(grant, outcome);
  }

  renew(grant: Grant): Grant {
    return this.#ledgerOf(grant.ticket.bucket.id).renew(grant);
  }

  refusal(ticket: Ticket): Shed | undefined {
    return this.#ledgerOf(ticket.bucket.id).refusal(ticket);
  }

  view(bucketId: string): BucketView | undefined {
    return this.#ledgerOf(bucketId).view(bucketId);
  }

  etaMs(bucketId: string): number | undefined {
    return this.#ledgerOf(bucketId).etaMs(bucketId);
  }

  snapshot(): BucketSnapshot[] {
    const { shared, local } = this.#options;
    if (this.#mode === 'local') return local.snapshot();
    return this.#troubled.size === 0
      ? shared.snapshot()
      : [...shared.snapshot(), ...local.snapshot()];
  }

  pause(bucketId: string): boolean {
    const isKnown = this.#ledgerOf(bucketId).pause(bucketId);
    if (isKnown) this.#paused.add(bucketId);
    return isKnown;
  }

  resume(bucketId: string): boolean {
    this.#paused.delete(bucketId);
    return this.#ledgerOf(bucketId).resume(bucketId);
  }

  drain(untilMs: number): void {
    this.#options.shared.drain(untilMs);
    this.#options.local.drain(untilMs);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    this.#forgetTroubled();
    await this.#options.shared.close();
    await this.#options.local.close();
  }

  /**
   * The shared ledger failed, for all buckets or for this one alone: the local one is in use until a
   * probe succeeds.
   */
  trouble(error: Error, bucketId?: string): void {
    if (this.#mode === 'local' || this.#closed) return;
    const isAlone = error instanceof BucketTrouble && bucketId !== undefined;
    if (isAlone && (this.#troubled.has(bucketId) || this.#troubled.size < MAX_TROUBLED)) {
      return this.#bucketTrouble(error, bucketId);
    }
    const { clock, log, shared, local, replicas, observer } = this.#options;
    if (clock.now() - this.#sharedSince >= RECOVERED_MS) this.#failures = 0;
    this.#mode = 'local';
    this.#troubledBucket = bucketId;
    this.#forgetTroubled();
    local.takeOver(shared.handOver(), this.#paused);
    observer.mode('local');
    log.warn({ ledger: 'local', replicas: replicas(), reason: error.message }, 'ledger');
    this.#probeLater();
  }

  #ledgerOf(bucketId: string): Ledger {
    const { shared, local } = this.#options;
    if (this.#mode === 'local') return local;
    return this.#troubled.size > 0 && this.#troubled.get(bucketId)?.isLocal === true
      ? local
      : shared;
  }

  #probeLater(): void {
    const delayMs = this.#probeDelay(this.#failures++);
    this.#timer = this.#options.clock.after(delayMs, () => void this.#probe());
  }

  /** Replicas that lost Redis together must not probe it together. */
  #probeDelay(failures: number): number {
    const most = Math.min(BACKOFF_MS.first * 2 ** failures, BACKOFF_MS.last);
    return most * (0.5 + 0.5 * this.#options.random());
  }

  /** Moves one bucket to the local ledger. */
  #bucketTrouble(error: Error, bucketId: string): void {
    const { log, shared, local, replicas } = this.#options;
    const troubled = this.#troubled.get(bucketId) ?? {
      isLocal: false,
      failures: 0,
      timer: undefined,
    };
    if (troubled.isLocal) return;
    troubled.isLocal = true;
    troubled.timer?.cancel();
    this.#troubled.set(bucketId, troubled);
    local.takeOver(shared.handOver(bucketId), this.#paused);
    const fields = { ledger: 'local', bucket: bucketId, replicas: replicas() };
    log.warn({ ...fields, reason: error.message }, 'ledger');
    this.#probeBucketLater(bucketId, troubled);
  }

  #probeBucketLater(bucketId: string, troubled: TroubledBucket): void {
    troubled.timer = this.#options.clock.after(this.#probeDelay(troubled.failures++), () => {
      void this.#probeBucket(bucketId, troubled);
    });
  }

  async #probeBucket(bucketId: string, troubled: TroubledBucket): Promise<void> {
    const { probe, log, shared, local, clock } = this.#options;
    const startedAt = clock.now();
    try {
      await probe(bucketId);
    } catch (error) {
      log.debug({ err: error, bucket: bucketId }, 'ledger probe failed');
      if (this.#troubled.get(bucketId) === troubled) this.#probeBucketLater(bucketId, troubled);
      return;
    }
    // Meanwhile all buckets may have moved.
    if (this.#troubled.get(bucketId) !== troubled) return;
    troubled.isLocal = false;
    troubled.timer = clock.after(RECOVERED_MS, () => this.#troubled.delete(bucketId));
    shared.takeOver(local.handOver(bucketId), this.#paused);
    const probeMs = Math.round(clock.now() - startedAt);
    log.info({ ledger: 'redis', bucket: bucketId, probeMs }, 'ledger');
  }

  #forgetTroubled(): void {
    for (const { timer } of this.#troubled.values()) timer?.cancel();
    this.#troubled.clear();
  }

  async #probe(): Promise<void> {
    const { probe, renew, log, shared, local, clock, observer } = this.#options;
    const startedAt = clock.now();
    try {
      await probe(this.#troubledBucket);
    } catch (error) {
      log.debug({ err: error }, 'ledger probe failed');
      if (this.#closed) return;
      if (this.#failures % RENEW_EVERY === 0) renew();
      this.#probeLater();
      return;
    }
    if (this.#closed) return;
    this.#mode = 'redis';
    this.#sharedSince = clock.now();
    shared.takeOver(local.handOver(), this.#paused);
    observer.mode('redis');
    log.info({ ledger: 'redis', probeMs: Math.round(clock.now() - startedAt) }, 'ledger');
  }
}
