import type { GrantKind } from '../budget/bucket.ts';
import type { KnownBucket } from './known-bucket.ts';
import type { Grant, Granted, CallerSignal, Cancelled, Shed, Ticket } from './ledger.ts';

/** A ticket that waits, and whom to tell. It moves between ledgers as it is. */
export interface Waiter {
  readonly ticket: Ticket;
  readonly signal: CallerSignal;
  readonly tell: (outcome: Granted | Shed | Cancelled) => void;
  /** Whether it had a grant before: its next one costs its flow nothing. */
  readonly isRetry: boolean;
  /** On `Clock.now`: not before then. */
  readonly notBefore: number;
  /** Under what number the shared ledger knows it, if it does. */
  readonly number?: number | undefined;
}

export interface HeldGrant {
  readonly grant: Grant;
  readonly kind: GrantKind;
}

/** Everything that a ledger holds for this replica. */
export interface Transfer {
  /** By age, the oldest first. */
  readonly waiting: readonly Waiter[];
  readonly held: readonly HeldGrant[];
  readonly known: readonly KnownBucket[];
}

/** A ledger that can pass on what it holds, so that another goes on with it. */
export interface Transferable {
  /** Gives everything away and holds nothing any more; nobody is told anything. */
  handOver(): Transfer;
  takeOver(handover: Transfer): void;
}
