import { DrawsLedger } from '../../src/ledger/draws-ledger.ts';
import { LocalLedger } from '../../src/ledger/local/local-ledger.ts';
import { ApiClock } from '../../src/rate-headers/api-clock.ts';
import { SeveralBucketsWorld, type WorldLimit } from './several-buckets-world.ts';
import { FakeClock } from './fake-clock.ts';
import { FakePermits } from './ledger-driver.ts';
import { seededRandom } from './seeded-random.ts';
import { utilisationOf } from './utilisation.ts';

/** Calls that arrive all the time. */
export interface Demand {
  readonly owner: string;
  readonly draws: readonly (readonly [id: string, cost: number])[];
  readonly perSecond: number;
  readonly maxWaitMs?: number;
  /** How many of its calls wait at most; a further one does not arrive. */
  readonly waiting?: number;
}

export interface BucketsSimulationOptions {
  readonly limits: readonly WorldLimit[];
  readonly demands: readonly Demand[];
  readonly runMs: number;
  /** How long a request takes to the API, and its answer back: between these, 20 and 60 by default. */
  readonly oneWayMs?: readonly [least: number, most: number];
  readonly sockets?: number;
  readonly seed?: number;
}

export interface BucketsSimulationResult {
  readonly world: SeveralBucketsWorld;
  /** How fast the API served the calls of a limit, over how fast the limit allows. */
  readonly utilisation: (id: string) => number;
  /** The share of the requests that the API refused. */
  readonly refusedShare: number;
  /** How many calls of an owner were served. */
  readonly served: (owner: string) => number;
}

/** Simulates demands through a ledger in this process, on a fake clock. */
export async function simulateBuckets(
  options: BucketsSimulationOptions,
): Promise<BucketsSimulationResult> {
  const { limits, demands, runMs, sockets = 256, seed = 1, oneWayMs = [20, 60] } = options;
  const [least, most] = oneWayMs;
  const clock = new FakeClock();
  const random = seededRandom(seed);
  const socketPermits = new FakePermits(sockets);
  const local = new LocalLedger({
    clock,
    socketPermits,
    maxQueue: 10_000,
    random: seededRandom(seed + 1),
    apiClock: new ApiClock(),
  });
  const ledger = new DrawsLedger({ ledger: local, clock, socketPermits });
  const world = new SeveralBucketsWorld(ledger, clock, socketPermits, limits);
  const start = clock.now();

  for (const demand of demands) {
    const { owner, draws, perSecond, maxWaitMs = 120_000, waiting = 1000 } = demand;
    const own: (typeof world.calls)[number][] = [];
    const arrive = (): void => {
      const [first] = own;
      if (first !== undefined && first.state !== 'waiting') own.shift();
      if (own.filter(({ state }) => state === 'waiting').length < waiting) {
        own.push(
          world.call({ owner, draws, maxWaitMs, oneWayMs: least + (most - least) * random() }),
        );
      }
      clock.after((2 * random() * 1000) / perSecond, arrive);
    };
    arrive();
  }

  const end = start + runMs;
  for (;;) {
    for (let i = 0; i < 12; i++) await Promise.resolve();
    const next = clock.nextAt();
    if (next === undefined || next > end) break;
    clock.advance(Math.max(0, next - clock.now()));
  }
  await local.close();

  return {
    world,
    utilisation(id) {
      const { limit = 1, periodMs = 1 } = limits.find((one) => one.id === id) ?? {};
      const halfAt = (world.accepted.get(id) ?? []).filter(
        (_, i) => (i + 1) % limit === Math.floor(limit / 2),
      );
      return utilisationOf(halfAt, periodMs, end);
    },
    refusedShare: world.refusals / Math.max(1, world.sent),
    served: (owner) =>
      world.calls.filter((call) => call.owner === owner && call.state === 'served').length,
  };
}
