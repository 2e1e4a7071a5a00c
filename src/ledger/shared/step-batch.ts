import type { GrantKind } from '../../budget/bucket.ts';
import type { Slots } from '../../budget/slots.ts';
import type { Waiter } from '../transfer.ts';
import type { KnownBucket } from '../known-bucket.ts';
import type { Outcome } from '../ledger.ts';
import type { LocalObservation } from '../local-times.ts';
import type {
  StepHeld,
  StepKnown,
  StepNumbers,
  StepObservation,
  StepSettled,
  StepTicket,
} from './wire.ts';
import type { StockMark } from './prefetch.ts';

/** A lease as this replica keeps it, until it is settled. */
export interface RemoteLease {
  readonly id: string;
  readonly kind: GrantKind;
  /** How many observations there were, counted within a lineage; −1 for one of another lineage. */
  observation: number;
  readonly trusted: boolean;
  readonly grantedAt: number;
  /** Where it came from stock, and until the shared state is told so. */
  fromStock: FromStock | undefined;
}

/** How things stood at the bucket when a lease came from stock. */
export type FromStock = Pick<StockMark, 'losses' | 'returns'>;

/** A settlement that waits for its step. Times are on our clock until it is sent. */
export interface Settlement {
  readonly lease: RemoteLease;
  readonly outcome: Outcome['kind'];
  readonly said: LocalObservation | undefined;
  /** From 0 up to but without 1: spreads the retries of an API that says no time. */
  readonly random: number;
}

/** `mostOnWayMs` is how long the step may be on its way before it is void. */
export function toSettled(
  { lease, outcome, said, random }: Settlement,
  now: number,
  mostOnWayMs: number,
): StepSettled {
  const { id, kind, observation, trusted, fromStock, grantedAt } = lease;
  const observed = said === undefined ? null : toStepObservation(said, random, now, mostOnWayMs);
  if (fromStock !== undefined) {
    const { losses, returns } = fromStock;
    const age = now - grantedAt;
    return [id, kind, observation, trusted, outcome, observed, losses, returns, age];
  }
  if (observed === null) return [id, kind, observation, trusted, outcome];
  return [id, kind, observation, trusted, outcome, observed];
}

function toStepObservation(
  said: LocalObservation,
  random: number,
  now: number,
  mostOnWayMs: number,
): StepObservation {
  return {
    status: said.status,
    limit: said.limit,
    remaining: said.remaining,
    resetIn: said.resetAt === undefined ? undefined : said.resetAt - now,
    retryIn: said.retryAt === undefined ? undefined : said.retryAt - now,
    stamp: said.stamp,
    // One and the same reset seems so much later to the server by a step that was longer on its way;
    // where the API names a moment, that is what is compared.
    sameWithin: said.sameWithinMs + (said.stamp === undefined ? mostOnWayMs : 0),
    uncertainty: said.uncertaintyMs,
    ...(said.status === 429 ? { random } : {}),
  };
}

export function toHeld(lease: RemoteLease, now: number): StepHeld {
  const { id, kind, observation, trusted, fromStock, grantedAt } = lease;
  const age = now - grantedAt;
  if (fromStock === undefined) return [id, kind, observation, trusted, age];
  return [id, kind, observation, trusted, age, fromStock.losses, fromStock.returns];
}

/** `latest` is the last moment at which an attempt may start here. */
export function toTicket(
  id: string,
  { ticket, isRetry }: Waiter,
  isKept: boolean,
  latest: number,
  now: number,
): StepTicket {
  const { owner, caller, priority, weight, arrivedAt } = ticket;
  const how = isKept ? (isRetry ? 'kept-again' : 'kept') : isRetry ? 'again' : 'new';
  return [id, name(owner), name(caller), priority, weight, now - arrivedAt, latest - now, how];
}

/** Control characters separate names in the queue's keys, and the script reads whole ones only. */
function name(text: string): string {
  const whole = text.toWellFormed();
  return CONTROL.test(whole) ? whole.replaceAll(CONTROLS, '?') : whole;
}

// oxlint-disable-next-line no-control-regex
const CONTROL = /[\0-\x1f]/;
const CONTROLS = new RegExp(CONTROL, 'g');

export function toKnown(known: KnownBucket, unsharedSpent: number, now: number): StepKnown {
  const { said, blockedUntil, own, since } = known;
  const blockedFor = blockedUntil === undefined ? 0 : blockedUntil - now;
  return {
    slots: fromNow(own, now),
    since: fromNow(since, now),
    ...(blockedFor > 0 ? { blockedFor } : {}),
    ...(said === undefined
      ? {}
      : {
          limit: said.limit,
          remaining: Math.max(0, said.remaining - unsharedSpent),
          ago: now - said.at,
          uncertainty: said.uncertaintyMs,
          ...(said.resetAt === undefined ? {} : { resetIn: said.resetAt - now }),
          ...(said.stamp === undefined ? {} : { stamp: said.stamp }),
          ...(said.periodMs === undefined ? {} : { period: said.periodMs }),
        }),
  };
}

function fromNow(slots: Slots, now: number): [number, number][] {
  return slots
    .entries()
    .filter(([at]) => at > now)
    .map(([at, count]) => [at - now, count]);
}

/** Keeps what a step said of the bucket, for when nobody else remembers it. */
export function remember(known: KnownBucket, numbers: StepNumbers, now: number): void {
  const { limit, remaining, resetIn, blockedFor, observedAgo, uncertainty } = numbers;
  known.blockedUntil = blockedFor === undefined ? undefined : now + blockedFor;
  if (limit === undefined || remaining === undefined || observedAgo === undefined) return;
  known.said = {
    limit,
    remaining,
    resetAt: resetIn === undefined ? undefined : now + resetIn,
    at: now - observedAgo,
    uncertaintyMs: uncertainty,
    periodMs: numbers.period,
    stamp: numbers.stamp,
  };
}
