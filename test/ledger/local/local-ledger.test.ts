import { ApiClock } from '../../../src/rate-headers/api-clock.ts';
import { LocalLedger } from '../../../src/ledger/local/local-ledger.ts';
import { seededRandom } from '../../support/seeded-random.ts';
import { drawsLedgerTests } from '../draws-ledger-tests.ts';
import { ledgerTests, type LedgerParts, type LedgerUnderTest } from '../ledger-tests.ts';

function make(parts: LedgerParts): LedgerUnderTest {
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
}

ledgerTests('memory', make);
drawsLedgerTests('memory', make);
