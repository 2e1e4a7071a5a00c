import type { Grant, Ledger } from '../../src/ledger/ledger.ts';

/** A ledger, and how many of its grants are not settled. */
export interface CountedGrants {
  readonly ledger: Ledger;
  readonly held: () => number;
}

/**
 * Counts the grants of a ledger. One that is never settled would end as a lease after some seconds, and
 * nothing else would show that it was lost.
 */
export function countGrants(counted: Ledger): CountedGrants {
  let held = 0;
  const acquire: Ledger['acquire'] = (ticket, signal, retry) => {
    const admission = counted.acquire(ticket, signal, retry);
    if (admission.kind === 'granted') held++;
    if (admission.kind === 'waiting') {
      void admission.outcome.then(({ kind }) => {
        if (kind === 'granted') held++;
      });
    }
    return admission;
  };
  const settle: Ledger['settle'] = (grant: Grant, outcome) => {
    held--;
    counted.settle(grant, outcome);
  };
  const ledger = new Proxy(counted, {
    get(target, name) {
      if (name === 'acquire') return acquire;
      if (name === 'settle') return settle;
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  return { ledger, held: () => held };
}
