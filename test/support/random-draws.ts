import * as fc from 'fast-check';
import { expect } from 'vitest';
import { DrawsLedger } from '../../src/ledger/draws-ledger.ts';
import type { Ledger } from '../../src/ledger/ledger.ts';
import { countGrants } from './counted-grants.ts';
import { SeveralBucketsWorld, type CallOptions, type WorldLimit } from './several-buckets-world.ts';
import type { FakeClock } from './fake-clock.ts';
import type { FakePermits } from './ledger-driver.ts';

/** Calls with several buckets, and what happens to them. */
export interface RandomDraws {
  readonly limits: readonly WorldLimit[];
  /** Whether the limits are known before the first of the calls. */
  readonly isOpen: boolean;
  readonly sockets: number;
  readonly calls: readonly (CallOptions & { readonly atMs: number })[];
  readonly pauses: readonly {
    readonly atMs: number;
    readonly forMs: number;
    readonly at: number;
  }[];
  readonly outages: readonly { readonly atMs: number; readonly forMs: number }[];
}

export interface LedgerOfWorld {
  readonly ledger: Ledger;
  readonly socketPermits: FakePermits;
  readonly clock: FakeClock;
  readonly quiet: () => Promise<void>;
  /** Redis is away from now on, or back. */
  readonly outage?: (isAway: boolean) => void;
}

const RUN_MS = 20_000;
const MAX_PERIOD_MS = 9000;

const limits = fc.array(
  fc.record({
    limit: fc.integer({ min: 3, max: 12 }),
    periodMs: fc.integer({ min: 500, max: MAX_PERIOD_MS }),
  }),
  { minLength: 2, maxLength: 4 },
);

const call = fc.record({
  atMs: fc.integer({ min: 0, max: RUN_MS }),
  /** Which limits, as bits; at least one is taken. */
  draws: fc.integer({ min: 1, max: 15 }),
  costs: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 4, maxLength: 4 }),
  owner: fc.constantFrom('a', 'b', 'c'),
  maxWaitMs: fc.integer({ min: 0, max: 15_000 }),
  leavesAfterMs: fc.option(fc.integer({ min: 0, max: 8000 }), { nil: undefined, freq: 4 }),
  oneWayMs: fc.integer({ min: 1, max: 300 }),
});

type Fate = CallOptions['fate'];
const unsent = { weight: 1, arbitrary: fc.constant<Fate>('unsent') };
const answered = { weight: 8, arbitrary: fc.constant<Fate>('answered') };
const lost = { weight: 2, arbitrary: fc.constantFrom<Fate>('lost-before', 'lost-after') };

const happens = {
  atMs: fc.integer({ min: 0, max: RUN_MS }),
  forMs: fc.integer({ min: 1, max: 8000 }),
};

/** Random worlds with up to 60 calls. `hasOutages`: of a ledger in Redis. */
export function randomDraws({
  hasOutages = false,
  minCalls = 1,
}: {
  hasOutages?: boolean;
  minCalls?: number;
}): fc.Arbitrary<RandomDraws> {
  return fc
    .record({
      limits,
      isOpen: fc.boolean(),
      sockets: fc.integer({ min: 1, max: 12 }),
      calls: fc.array(call, { minLength: minCalls, maxLength: 60 }),
      fates: fc.oneof(
        fc.array(fc.oneof(answered, unsent), { minLength: 60, maxLength: 60 }),
        fc.array(fc.oneof(answered, unsent, lost), { minLength: 60, maxLength: 60 }),
      ),
      pauses: fc.array(fc.record({ ...happens, at: fc.nat({ max: 3 }) }), { maxLength: 3 }),
      outages: fc.array(fc.record(happens), {
        maxLength: hasOutages ? 2 : 0,
      }),
    })
    .map((world) => {
      const named = world.limits.map((limit, i): WorldLimit => ({ ...limit, id: `limit-${i}` }));
      const { isOpen, sockets, pauses, outages } = world;
      return {
        isOpen,
        sockets,
        pauses,
        outages,
        limits: named,
        calls: world.calls.map(({ draws, costs, ...own }, at): RandomDraws['calls'][number] => {
          const rest = { ...own, fate: world.fates[at] };
          const drawn = named.flatMap(({ id }, i) =>
            (draws & (1 << i)) === 0 ? [] : [[id, costs[i] ?? 1] as const],
          );
          return { ...rest, draws: drawn.length > 0 ? drawn : [['limit-0', costs[0] ?? 1]] };
        }),
      };
    });
}

/**
 * Runs a world, and expects that no ticket waits beyond its deadline, and that at the end nothing is
 * held and each bucket offers its whole limit. Where nothing is lost, the API refuses hardly a request.
 * Returns how many of the calls ended.
 */
export async function playDraws(
  random: RandomDraws,
  { ledger, socketPermits, clock, quiet, outage }: LedgerOfWorld,
): Promise<number> {
  const counted = countGrants(ledger);
  const several = new DrawsLedger({ ledger: counted.ledger, clock, socketPermits });
  const world = new SeveralBucketsWorld(several, clock, socketPermits, random.limits);

  async function pass(ms: number): Promise<void> {
    const end = clock.now() + ms;
    for (;;) {
      await quiet();
      const next = clock.nextAt();
      if (next === undefined || next > end) break;
      clock.advance(Math.max(0, next - clock.now()));
    }
    clock.advance(end - clock.now());
    await quiet();
  }

  if (random.isOpen) for (const { id } of random.limits) world.call({ draws: [[id, 1]] });
  await pass(MAX_PERIOD_MS);
  for (const { atMs, ...options } of random.calls) clock.after(atMs, () => world.call(options));
  for (const { atMs, forMs, at } of random.pauses) {
    const { id = '' } = random.limits[at % random.limits.length] ?? {};
    clock.after(atMs, () => several.pause(id));
    clock.after(atMs + forMs, () => several.resume(id));
  }
  for (const { atMs, forMs } of random.outages) {
    clock.after(atMs, () => outage?.(true));
    clock.after(atMs + forMs, () => outage?.(false));
  }
  await pass(RUN_MS + 20_000);
  for (const { id } of random.limits) several.resume(id);
  // Everything has been answered, or counts as lost and has returned.
  await pass(2 * MAX_PERIOD_MS + 30_000);

  for (const { ticket, state, askedAt, decidedAt } of world.calls) {
    expect(state).not.toBe('waiting');
    // A ticket that may not wait waits for the step that answers it.
    expect(decidedAt).toBeLessThanOrEqual(Math.max(ticket.deadlineAt, askedAt + 200));
  }
  // What was lost, and what a bucket spent during an outage, is not known exactly: canaries test it. A
  // canary that waits for another bucket may meet another canary once.
  const isExact = random.calls.every(({ fate }) => fate === 'answered' || fate === 'unsent');
  if (isExact && random.isOpen && random.outages.length === 0) {
    expect(world.refusals).toBeLessThanOrEqual(1);
  }
  expect(several.snapshot().map((bucket) => [bucket.id, bucket.leases, bucket.waiting])).toEqual(
    several.snapshot().map(({ id }) => [id, 0, 0]),
  );
  expect(socketPermits.free).toBe(random.sockets);
  expect(counted.held()).toBe(0);

  const opening = random.isOpen ? random.limits.length : 0;
  const ended = world.calls.length - opening;

  // One bucket after the other: as many requests as its limit, of which one may open it.
  const refusals = world.refusals;
  for (const { id, limit, periodMs } of random.limits) {
    const before = world.accepted.get(id)?.length ?? 0;
    for (let i = 0; i < limit; i++) {
      world.call({ draws: [[id, 1]], oneWayMs: 1, maxWaitMs: periodMs });
    }
    await pass(periodMs - 50);
    expect([id, (world.accepted.get(id)?.length ?? 0) - before]).toEqual([id, limit]);
    await pass(2 * periodMs);
  }
  expect(world.refusals).toBe(refusals);
  expect(socketPermits.free).toBe(random.sockets);
  return ended;
}
