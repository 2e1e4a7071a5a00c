import type { Random, Clock, Timer } from '../util/clock.ts';
import type { Log } from '../telemetry/log.ts';
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
  Ticket,
} from './ledger.ts';

export interface FailoverLedgerOptions {
  readonly shared: Ledger & Transferable;
  readonly local: Ledger & Transferable;
  /** Health check: resolves when Redis answers, for a named bucket with a successful step. */
  readonly probe: (bucketId: string | undefined) => Promise<void>;
  /** How many replicas share each budget while Redis is away, as seen last. */
  readonly replicas: () => number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly observer: Pick<LedgerObserver, 'mode'>;
}

/** The longest delay of the first probe. It doubles with each failed probe, up to the last. */
const BACKOFF_MS = { first: 500, last: 10_000 };
/** After working for this long the shared ledger has recovered: the next outage starts a new backoff. */
const RECOVERED_MS = 10_000;

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
    return this.#current.acquire(ticket, signal, retry);
  }

  settle(grant: Grant, outcome: Outcome): void {
    this.#current.settle(grant, outcome);
  }

  view(bucketId: string): BucketView | undefined {
    return this.#current.view(bucketId);
  }

  snapshot(): BucketSnapshot[] {
    return this.#current.snapshot();
  }

  pause(bucketId: string): boolean {
    const isKnown = this.#current.pause(bucketId);
    if (isKnown) this.#paused.add(bucketId);
    return isKnown;
  }

  resume(bucketId: string): boolean {
    this.#paused.delete(bucketId);
    return this.#current.resume(bucketId);
  }

  drain(untilMs: number): void {
    this.#options.shared.drain(untilMs);
    this.#options.local.drain(untilMs);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.#options.shared.close();
    await this.#options.local.close();
  }

  /** The shared ledger failed: the local one is in use until a probe succeeds. */
  trouble(error: Error, bucketId?: string): void {
    if (this.#mode === 'local' || this.#closed) return;
    const { clock, log, shared, local, replicas, observer } = this.#options;
    if (clock.now() - this.#sharedSince >= RECOVERED_MS) this.#failures = 0;
    this.#mode = 'local';
    this.#troubledBucket = bucketId;
    local.takeOver(shared.handOver());
    this.#pauseAgain();
    observer.mode('local');
    log.warn({ ledger: 'local', replicas: replicas(), reason: error.message }, 'ledger');
    this.#probeLater();
  }

  get #current(): Ledger {
    return this.#mode === 'redis' ? this.#options.shared : this.#options.local;
  }

  #probeLater(): void {
    const { clock, random } = this.#options;
    const most = Math.min(BACKOFF_MS.first * 2 ** this.#failures, BACKOFF_MS.last);
    this.#failures++;
    // Replicas that lost Redis together must not probe it together.
    this.#timer = clock.after(most * (0.5 + 0.5 * random()), () => void this.#probe());
  }

  async #probe(): Promise<void> {
    const { probe, log, shared, local, clock, observer } = this.#options;
    const startedAt = clock.now();
    try {
      await probe(this.#troubledBucket);
    } catch (error) {
      log.debug({ err: error }, 'ledger probe failed');
      if (!this.#closed) this.#probeLater();
      return;
    }
    if (this.#closed) return;
    this.#mode = 'redis';
    this.#sharedSince = clock.now();
    shared.takeOver(local.handOver());
    this.#pauseAgain();
    observer.mode('redis');
    log.info({ ledger: 'redis', probeMs: Math.round(clock.now() - startedAt) }, 'ledger');
  }

  #pauseAgain(): void {
    for (const bucketId of this.#paused) this.#current.pause(bucketId);
  }
}
