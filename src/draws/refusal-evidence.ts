import type { ReadRoute } from './route-template.ts';

/** A route whose requests wait because the API refused one of them. */
interface Wait {
  readonly refusedAt: number;
  readonly until: number;
  readonly isStated: boolean;
}

interface Recent {
  method: string;
  path: string;
  at: number;
}

/** When the API refused a request, and until when that holds. Times are on `Clock.now`. */
export interface Refusal {
  readonly receivedAt: number;
  /** Until when requests to the route wait. */
  readonly until: number;
  /** Whether the API stated that time. If not, answers before it show little. */
  readonly isStated: boolean;
  /** Whether one refusal is not enough. */
  readonly isDoubtful: boolean;
}

/** The most routes that wait at a time. */
const MAX_WAITS = 32;
/** How many of the last requests are remembered, each of another path than the one before. */
const MAX_RECENT = 8;
/** Longer paths are not remembered. */
const MAX_PATH = 1000;
const RECENT_MS = 600_000;
/** A Retry-After in whole seconds may end up to this later than the refusals. */
const ROUNDING_MS = 1000;
/** How many answers to others show that a refused route waits alone. */
const CONFIRMED = 2;
/** How many refusals during another route's wait refute that, before and after it is confirmed. */
const TOGETHER = { unconfirmed: 2, confirmed: 3 };

/** What a refusal without numbers concerns. */
export type RefusalFinding =
  /** The refusal concerns all routes of the bucket. */
  | 'all'
  /** It concerns the refused route alone. */
  | 'route'
  /** Earlier refusals were believed to concern one route each, and this shows that they did not. */
  | 'never-alone';

/**
 * Finds out whether refusals by a limit that no answer reports concern one route or all of a class.
 * There is one of these for each class of a credential.
 *
 * Where requests to several routes are sent, a refusal is believed to concern its route alone. Answers
 * to other routes during its wait confirm this. Beside reports of another limit, it takes a second
 * refusal of the route. Refusals of other routes during the wait contradict it: two of them, or three
 * without an answer between if something has confirmed it. One is not enough: two routes may reach limits of
 * their own at the same time.
 */
export class RefusalEvidence {
  readonly #readRoute: ReadRoute;
  #waits = new Map<string, Wait>();
  #recent: Recent[] = [];
  #confirmed = 0;
  #together = 0;
  #watchedUntil = 0;

  constructor(readRoute: ReadRoute) {
    this.#readRoute = readRoute;
  }

  /** Whether accepted requests have to be {@link accepted}, where the API reports numbers otherwise. */
  get isWatching(): boolean {
    return this.#watchedUntil > 0;
  }

  /** Adds a request that was accepted before; an empty path is none. */
  saw(method: string, path: string, receivedAt: number): void {
    if (path !== '') this.#remember(method, path, receivedAt);
  }

  /** Adds an accepted request. */
  accepted(method: string, path: string, grantedAt: number, receivedAt: number): void {
    this.#remember(method, path, receivedAt);
    if (receivedAt > this.#watchedUntil) this.#watchedUntil = 0;
    if (this.#waits.size === 0) return;
    const { template } = this.#readRoute(method, path);
    for (const [waiting, { refusedAt, until, isStated }] of this.#waits) {
      if (receivedAt >= until) {
        this.#waits.delete(waiting);
        continue;
      }
      const isLater = grantedAt > refusedAt && receivedAt < until - ROUNDING_MS;
      if (waiting === template || !isLater || !isStated) continue;
      this.#confirmed++;
      this.#together = 0;
    }
  }

  /** Adds a request that the API refused until a time, by a limit that no answer reports. */
  refused(
    method: string,
    path: string,
    template: string,
    { receivedAt, until, isStated, isDoubtful }: Refusal,
  ): RefusalFinding {
    this.#watchedUntil = receivedAt + RECENT_MS;
    const isWaiting = (this.#waits.get(template)?.until ?? 0) > receivedAt;
    let othersWait = false;
    for (const [waiting, wait] of this.#waits) {
      if (wait.until <= receivedAt) this.#waits.delete(waiting);
      else if (waiting !== template) othersWait = true;
    }
    if (othersWait && !isWaiting) this.#together++;
    const isConfirmed = this.#confirmed >= CONFIRMED;
    if (this.#together >= (isConfirmed ? TOGETHER.confirmed : TOGETHER.unconfirmed)) {
      this.forget();
      return 'never-alone';
    }
    if (this.#waits.size < MAX_WAITS || isWaiting) {
      this.#waits.set(template, { refusedAt: receivedAt, until, isStated });
    }
    const isOneOfSeveral = this.#recent.some(
      (one) =>
        receivedAt - one.at < RECENT_MS &&
        this.#readRoute(one.method, one.path).template !== template,
    );
    this.#remember(method, path, receivedAt);
    return isOneOfSeveral && (isWaiting || !isDoubtful) ? 'route' : 'all';
  }

  forget(): void {
    this.#waits.clear();
    this.#confirmed = 0;
    this.#together = 0;
  }

  #remember(method: string, path: string, at: number): void {
    if (path.length > MAX_PATH) return;
    const last = this.#recent.at(-1);
    if (last !== undefined && last.path === path && last.method === method) {
      last.at = at;
      return;
    }
    const known = this.#recent.findIndex((one) => one.path === path && one.method === method);
    const isFull = this.#recent.length >= MAX_RECENT;
    const [old] = known !== -1 || isFull ? this.#recent.splice(Math.max(0, known), 1) : [];
    const recent = old ?? { method, path, at };
    recent.method = method;
    recent.path = path;
    recent.at = at;
    this.#recent.push(recent);
  }
}
