import type { Clock } from '../util/clock.ts';

/** What is reported about the wrong keys or tokens of one network. */
export interface AuthFailureReport {
  /** The address that sent the latest one. */
  readonly address: string;
  /** How many came from its network since the last report about it. */
  readonly failures: number;
  /** How many came from all networks since the start. */
  readonly total: number;
}

export interface AuthThrottleOptions {
  readonly clock: Clock;
  /** Called at most once per network and minute, and at most 20 times per minute. */
  readonly report: (failure: AuthFailureReport) => void;
}

/** How a request with a wrong key or token is answered. */
export type AuthFailure =
  | { readonly kind: 'at-once' }
  /** When `over` resolves: after the delay, or when the client has disconnected. */
  | { readonly kind: 'delayed'; readonly over: Promise<void> }
  /** At once, with 429: too many answers to its network, or to all, are delayed already. */
  | { readonly kind: 'too-many'; readonly retryAfterMs: number };

/** Calls `listener` when the client disconnects. Returns a function that removes the listener. */
export type OnDisconnect = (listener: () => void) => () => void;

interface Network {
  /** Failures since the window began. */
  failures: number;
  windowEndsAt: number;
  unreported: number;
  /** Answers that are delayed now. */
  delayed: number;
}

const WINDOW_MS = 60_000;
/** A network's failures per window that are answered at once: typing errors, an old key. */
const FREE_FAILURES = 10;
const DELAY_MS = 1000;
/** A delayed answer keeps its request in memory, at most 64 KiB of headers. */
const MAX_DELAYED = 100;
const MAX_DELAYED_PER_NETWORK = 10;
/** Networks that are remembered; the one that failed longest ago is forgotten first. */
const MAX_NETWORKS = 10_000;
const MAX_REPORTS = 20;

/**
 * Counts wrong keys or tokens by the network of their client, and delays the answers to a network
 * that sends many.
 *
 * Every key is compared before it is counted here, and a right one is served at once: many clients
 * may share an address with one that has an old key. So this does not bound guesses; the length of
 * keys makes them hopeless. It bounds what a client that repeats a wrong key costs.
 */
export class AuthThrottle {
  readonly #clock: Clock;
  readonly #report: AuthThrottleOptions['report'];
  /** The network that failed last is the last entry. */
  readonly #networks = new Map<string, Network>();
  #total = 0;
  #delayed = 0;
  #reports = 0;
  #reportsResetAt = Number.NEGATIVE_INFINITY;

  constructor({ clock, report }: AuthThrottleOptions) {
    this.#clock = clock;
    this.#report = report;
  }

  /** Wrong keys or tokens since the start. */
  get total(): number {
    return this.#total;
  }

  /** Counts a wrong key or token from `address`, and returns how its request is answered. */
  fail(address: string, onDisconnect: OnDisconnect): AuthFailure {
    this.#total++;
    const network = this.#networkOf(address);
    network.failures++;
    network.unreported++;
    if (network.failures === 1) this.#reportOn(network, address);
    if (network.failures <= FREE_FAILURES) return { kind: 'at-once' };
    if (this.#delayed >= MAX_DELAYED || network.delayed >= MAX_DELAYED_PER_NETWORK) {
      return { kind: 'too-many', retryAfterMs: network.windowEndsAt - this.#clock.now() };
    }
    return { kind: 'delayed', over: this.#delay(network, onDisconnect) };
  }

  #networkOf(address: string): Network {
    const name = networkOf(address);
    const now = this.#clock.now();
    const known = this.#networks.get(name);
    const network = known ?? { failures: 0, windowEndsAt: 0, unreported: 0, delayed: 0 };
    if (known === undefined || now >= network.windowEndsAt) {
      network.failures = 0;
      network.windowEndsAt = now + WINDOW_MS;
    }
    this.#networks.delete(name);
    this.#networks.set(name, network);
    if (this.#networks.size > MAX_NETWORKS) {
      for (const [oldest] of this.#networks) {
        this.#networks.delete(oldest);
        break;
      }
    }
    return network;
  }

  #reportOn(network: Network, address: string): void {
    const now = this.#clock.now();
    if (now >= this.#reportsResetAt) {
      this.#reportsResetAt = now + WINDOW_MS;
      this.#reports = 0;
    }
    if (this.#reports >= MAX_REPORTS) return;
    this.#reports++;
    this.#report({ address, failures: network.unreported, total: this.#total });
    network.unreported = 0;
  }

  #delay(network: Network, onDisconnect: OnDisconnect): Promise<void> {
    this.#delayed++;
    network.delayed++;
    return new Promise((resolve) => {
      const end = (): void => {
        timer.cancel();
        removeListener();
        this.#delayed--;
        network.delayed--;
        resolve();
      };
      const timer = this.#clock.after(DELAY_MS, end);
      const removeListener = onDisconnect(end);
    });
  }
}

/**
 * The network whose clients are taken for one: an IPv4 address, or the first 64 bits of an IPv6
 * address, of which a single host can usually use every one.
 */
function networkOf(address: string): string {
  const plain = address.replace(/^::ffff:(?=\d+\.)/, '');
  if (!plain.includes(':')) return plain;
  const [head = '', tail] = (plain.split('%', 1)[0] ?? '').split('::');
  const front = head.split(':').filter((group) => group !== '');
  const back = (tail ?? '').split(':').filter((group) => group !== '');
  const zeros = Array.from({ length: 8 - front.length - back.length }, () => '0');
  return `${[...front, ...zeros, ...back].slice(0, 4).join(':')}::/64`;
}
