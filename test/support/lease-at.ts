import type { Lease } from '../../src/budget/bucket.ts';

/** A regular lease of one operation, granted at `grantedAt` before any observation, unless given. */
export function leaseAt(grantedAt: number, rest: Partial<Lease> = {}): Lease {
  return {
    kind: 'regular',
    grantedAt,
    cost: 1,
    observation: 0,
    losses: 0,
    returns: 0,
    trusted: false,
    loss: 0,
    recorded: false,
    ...rest,
  };
}
