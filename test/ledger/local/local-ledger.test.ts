import { ClockOffset } from '../../../src/rate-headers/api-clock.ts';
import { MemoryLedger } from '../../../src/ledger/local/local-ledger.ts';
import { seededChance } from '../../support/seeded-chance.ts';
import { ledgerTests } from '../ledger-tests.ts';

ledgerTests('memory', (parts) => {
  const ledger = new MemoryLedger({
    ...parts,
    chance: seededChance(1),
    apiClock: new ClockOffset(),
  });
  return {
    ledger,
    async quiet() {
      // Outcomes are told by promises, and telling one may take a few turns.
      for (let i = 0; i < 5; i++) await Promise.resolve();
    },
  };
});
