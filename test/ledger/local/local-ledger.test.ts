import { expect, test } from 'vitest';
import { ApiClock } from '../../../src/rate-headers/api-clock.ts';
import { LocalLedger } from '../../../src/ledger/local/local-ledger.ts';
import { statedShares } from '../../../src/queue/caller-rules.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { FakePermits, LedgerDriver } from '../../support/ledger-driver.ts';
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

test('one of two replicas without Redis keeps a stated share of its portion of the budget', () => {
  const clock = new FakeClock();
  const permits = new FakePermits(100);
  const ledger = new LocalLedger({
    clock,
    random: seededRandom(1),
    apiClock: new ApiClock(),
    socketPermits: permits,
    maxQueue: 100,
    shares: statedShares([{ name: 'deploy', reserve: 0.2 }]),
    standIn: { replicas: () => 2 },
  });
  const driver = new LedgerDriver(ledger, clock, permits);
  const asked = Array.from({ length: 30 }, () => driver.ask({ caller: 'job', owner: 'job' }));
  let remaining = 40;
  for (const one of asked) {
    if (one.state.kind !== 'granted') continue;
    driver.answer(one, { limit: 40, remaining: --remaining, resetInMs: 60_000 });
  }
  expect(ledger.snapshot()).toMatchObject([{ limit: 20, kept: 4 }]);
  const deploy = Array.from({ length: 5 }, () => driver.ask({ caller: 'deploy', owner: 'deploy' }));
  const granted = deploy.map(({ state }) => state.kind === 'granted');
  expect(granted).toEqual([true, true, true, true, false]);
});
