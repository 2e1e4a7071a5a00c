import { ApiClock } from '../../../src/rate-headers/api-clock.ts';
import { LocalLedger } from '../../../src/ledger/local/local-ledger.ts';
import { seededRandom } from '../../support/seeded-random.ts';
import { ledgerTests } from '../ledger-tests.ts';

ledgerTests('memory', (parts) => {
  const ledger = new LocalLedger({
    ...parts,
    random: seededRandom(1),
    apiClock: new ApiClock(),
  });
  return {
    ledger,
    async quiet() {
      // Outcomes are reported by promises, which may take a few turns.
      for (let i = 0; i < 5; i++) await Promise.resolve();
    },
  };
});
