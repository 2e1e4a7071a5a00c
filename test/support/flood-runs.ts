import { LocalLedger } from '../../src/ledger/local/local-ledger.ts';
import type { StatedShares } from '../../src/queue/caller-rules.ts';
import { FakeClock } from './fake-clock.ts';
import {
  knownApiClock,
  simulateFlood,
  type FloodOptions,
  type FloodResult,
} from './flood-simulation.ts';
import { FakePermits } from './ledger-driver.ts';
import type { Replicas } from './redis-replicas.ts';
import { seededRandom } from './seeded-random.ts';

/** More than a flood has calls. */
const SOCKETS = 100_000;
const MAX_QUEUE = 100_000;

/** What is kept of the limits, and for whom. */
export interface KeptFor {
  readonly spread?: number;
  readonly shares?: StatedShares;
}

/** Simulates a flood in front of the ledger in this process. */
export function floodLocally(options: FloodOptions, keptFor: KeptFor): Promise<FloodResult> {
  const clock = new FakeClock({ epochMs: Date.UTC(2026, 0, 1) + 12_345.678 });
  const permits = new FakePermits(SOCKETS);
  const apiClock = knownApiClock(clock);
  const ledger = new LocalLedger({
    clock,
    random: seededRandom(1),
    apiClock,
    socketPermits: permits,
    maxQueue: MAX_QUEUE,
    ...keptFor,
  });
  const quiet = async (): Promise<void> => {
    for (let i = 0; i < 4; i++) await Promise.resolve();
  };
  return simulateFlood({ clock, replicas: [{ ledger, permits, apiClock }], quiet }, options);
}

/** Simulates a flood in front of replicas with these names, which share their state in Redis. */
export async function floodReplicas(
  fleet: Replicas,
  names: readonly string[],
  options: FloodOptions,
  keptFor: KeptFor,
): Promise<FloodResult> {
  const replicas = names.map((name) => {
    const apiClock = knownApiClock(fleet.clock);
    const parts = { sockets: SOCKETS, maxQueue: MAX_QUEUE, apiClock };
    const replica = fleet.add(name, { ...parts, ...keptFor });
    return { ledger: replica.ledger, permits: replica.permits, apiClock };
  });
  const quiet = (): Promise<void> => fleet.quiet();
  const result = await simulateFlood({ clock: fleet.clock, replicas, quiet }, options);
  await fleet.clear();
  return result;
}
