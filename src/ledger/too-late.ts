import type { Shed, Ticket } from './ledger.ts';

/** While this replica drains another one answers, or this one's successor, in a moment. */
export const DRAINING_RETRY_MS = 1000;

/** Refuses a ticket that cannot start in time here: by its own deadline, or by the end of draining. */
export function tooLate(ticket: Ticket, drainUntil: number, retryAfterMs: number): Shed {
  return drainUntil < ticket.deadlineAt
    ? { kind: 'shed', code: 'draining', retryAfterMs: DRAINING_RETRY_MS }
    : { kind: 'shed', code: 'wait-too-long', retryAfterMs: Math.max(0, retryAfterMs) };
}
