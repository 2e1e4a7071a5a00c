import type { Clock, Timer } from '../../util/clock.ts';
import { inTime } from './in-time.ts';
import type { RedisStore } from './redis/store.ts';

const ANNOUNCE_EVERY_MS = 2000;
/** The start of the gateway waits for Redis for this long, and then continues without it. */
const START_TIMEOUT_MS = 2000;
const START_RETRY_MS = 20;

export interface ReplicaPresenceOptions {
  readonly store: Pick<RedisStore, 'presence'>;
  readonly clock: Clock;
  /** A slower answer of Redis counts as a failure. */
  readonly timeoutMs: number;
  /**
   * The key of the bucket names that this replica proposes to the others. `undefined`: the settings
   * state the key, so there is nothing to agree on.
   */
  readonly proposedKey: Buffer | undefined;
  /** The replicas agreed on another key than the one in use. */
  readonly onKeyAgreed: (key: Buffer) => void;
  /** Whether the shared ledger is in use. While it is not, the probes of the failover announce. */
  readonly isSharedInUse: () => boolean;
  /** An announcement succeeded. */
  readonly onAnnounced?: () => void;
  /** An announcement failed, or took too long. */
  readonly onTrouble: (error: Error) => void;
}

/**
 * Announces this replica to the others through Redis, every 2 seconds. The reply says how many
 * replicas announced themselves lately, and which key names the buckets.
 *
 * All replicas must use the same key, because a bucket's name is a hash that is made with it. The
 * first replica's proposal wins; the others adopt it.
 */
export class ReplicaPresence {
  readonly #options: ReplicaPresenceOptions;
  /** The key in use, as Redis keeps it; empty when the settings state the key. */
  #key: string;
  #replicas = 1;
  #timer: Timer | undefined;
  #closed = false;

  constructor(options: ReplicaPresenceOptions) {
    this.#options = options;
    this.#key = options.proposedKey?.toString('base64url') ?? '';
  }

  /** How many replicas the latest reply counted, this one included. */
  get replicas(): number {
    return this.#replicas;
  }

  /**
   * Announces this replica once it can, then every 2 seconds. Resolves when the first announcement
   * succeeded, or after 2 seconds without success, which it reports as trouble.
   */
  async start(): Promise<void> {
    const { clock, onTrouble } = this.#options;
    const giveUpAt = clock.now() + START_TIMEOUT_MS;
    while (!this.#closed) {
      try {
        await this.announce();
        break;
      } catch (error) {
        if (clock.now() >= giveUpAt) {
          onTrouble(asError(error));
          break;
        }
        await new Promise<void>((resolve) => {
          clock.after(START_RETRY_MS, resolve);
        });
      }
    }
    this.#announceLater();
  }

  /** Announces this replica once. Rejects when Redis fails or does not answer in time. */
  async announce(): Promise<void> {
    const { store, clock, timeoutMs, onKeyAgreed, onAnnounced } = this.#options;
    const { replicas, agreedKey } = await inTime(store.presence(this.#key), timeoutMs, clock);
    this.#replicas = Math.max(1, replicas);
    if (agreedKey !== undefined && agreedKey !== this.#key) {
      this.#key = agreedKey;
      onKeyAgreed(Buffer.from(agreedKey, 'base64url'));
    }
    onAnnounced?.();
  }

  /** Stops the announcements. Redis forgets the replica after 10 seconds. */
  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  #announceLater(): void {
    // An announcement that was under way when this closed must not start the next one.
    if (this.#closed) return;
    const { clock, isSharedInUse, onTrouble } = this.#options;
    this.#timer = clock.after(ANNOUNCE_EVERY_MS, () => {
      const announced = isSharedInUse() ? this.announce() : Promise.resolve();
      void announced
        .catch((error: unknown) => onTrouble(asError(error)))
        .finally(() => this.#announceLater());
    });
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
