import type { Ticket } from '../ledger.ts';
import type { LocalBudget } from './local-budget.ts';
import type { LocalReserve } from './local-reserve.ts';
import type { LocalQueue, LocalWaiter } from './local-queue.ts';

/** Which ticket of a bucket can be granted now. */
export type Turn =
  | {
      readonly kind: 'next';
      readonly waiter: LocalWaiter;
      /** Whether it spends an operation that is kept for owners like its own. */
      readonly fromReserve: boolean;
    }
  /** The ticket whose turn it is waits only because of the reserve, or of a stated share. */
  | { readonly kind: 'kept' }
  /** No ticket is queued, or the budget has no grant for the one whose turn it is. */
  | { readonly kind: 'none' };

export const NO_TURN: Turn = { kind: 'none' };
const KEPT: Turn = { kind: 'kept' };

/**
 * Finds the ticket that can be granted now. `head` is the one whose turn it is by the fair order. A
 * ticket that the stated share of its caller covers goes before it. Where the reserve keeps it waiting,
 * a ticket of a modest owner may be granted instead.
 */
export function nextTurn(
  queue: LocalQueue,
  head: LocalWaiter,
  budget: LocalBudget,
  reserve: LocalReserve,
  now: number,
): Turn {
  const covered = reserve.mayBePassed(head.cost)
    ? queue.firstHead((waiter) => reserve.isInShare(waiter, now))
    : undefined;
  const next = covered ?? head;
  const kind = budget.offer(now, next.cost);
  if (kind === undefined) return NO_TURN;
  const reserved = reserve.keeps(next, kind, true, now);
  if (reserved === 'stated') return KEPT;
  if (reserved === 'yes' || reserved === 'after-modest') {
    const modest = reserve.mayBeUsed(now)
      ? queue.firstHead((waiter) =>
          reserve.mayUse(waiter, budget.offer(now, waiter.cost), true, now),
        )
      : undefined;
    if (modest !== undefined) {
      return { kind: 'next', waiter: modest, fromReserve: reserved === 'yes' };
    }
    if (reserved === 'yes') return KEPT;
  }
  return { kind: 'next', waiter: next, fromReserve: reserved === 'used' };
}

/** Whether a ticket that has just arrived is granted at once; `from-reserve`: with a kept operation. */
export type Start = 'waits' | 'at-once' | 'from-reserve';

/**
 * Decides whether a ticket that has just arrived is granted at once. There are two ways past queued
 * tickets: the stated share of its caller, and the reserve, while that alone keeps the next ticket
 * waiting (`isNextKept`).
 */
export function startOf(
  ticket: Ticket,
  queue: LocalQueue | undefined,
  isNextKept: boolean,
  budget: LocalBudget,
  reserve: LocalReserve,
  now: number,
): Start {
  const kind = budget.offer(now, ticket.cost);
  if (queue !== undefined && queue.queued > 0) {
    const mayStart = reserve.mayPass(ticket, queue.head?.cost, now)
      ? kind !== undefined
      : isNextKept && reserve.mayUse(ticket, kind, false, now);
    return mayStart ? 'from-reserve' : 'waits';
  }
  if (kind === undefined) return 'waits';
  const reserved = reserve.keeps(ticket, kind, false, now);
  if (reserved === 'yes' || reserved === 'stated') return 'waits';
  return reserved === 'used' ? 'from-reserve' : 'at-once';
}
