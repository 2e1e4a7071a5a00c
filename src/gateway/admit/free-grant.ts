import type { SettlesEach } from '../../ledger/draws-ledger.ts';
import type { Grant, Ticket } from '../../ledger/ledger.ts';

/**
 * The permission to send a request that spends no budget, which no ledger knows. It is for a preflight,
 * and in observe mode for a request for which the budget has nothing left.
 */
export class FreeGrant implements Grant {
  readonly ticket: Ticket;
  readonly grantedAt: number;
  readonly reason: 'preflight' | 'observe';
  readonly waitedFor = 'nothing';

  constructor(ticket: Ticket, grantedAt: number, reason: FreeGrant['reason']) {
    this.ticket = ticket;
    this.grantedAt = grantedAt;
    this.reason = reason;
  }
}

/** Settles the grants of a ledger, and none that it does not know. */
export function settlesLedgerGrants(ledger: SettlesEach): SettlesEach {
  return {
    settle(grant, outcome) {
      if (!(grant instanceof FreeGrant)) ledger.settle(grant, outcome);
    },
    spendUngranted: (ticket, outcome) => ledger.spendUngranted(ticket, outcome),
  };
}
