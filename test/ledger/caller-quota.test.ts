// @module-tag needs-redis-server
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { ApiClock } from '../../src/rate-headers/api-clock.ts';
import { DrawsLedger } from '../../src/ledger/draws-ledger.ts';
import { FailoverLedger } from '../../src/ledger/failover-ledger.ts';
import { LocalLedger } from '../../src/ledger/local/local-ledger.ts';
import { makeLog } from '../../src/telemetry/log.ts';
import { FakePermits, LedgerDriver, type Asked } from '../support/ledger-driver.ts';
import { Replicas } from '../support/redis-replicas.ts';
import { seededRandom } from '../support/seeded-random.ts';

/** The quota of a caller whose calls go to two replicas. */

const HOUR_MS = 3_600_000;
const QUOTA = { limit: 10, periodMs: HOUR_MS };
const ID = 'quota:c';
/** What the API reports: it never limits these calls. */
const REPORT = { limit: 1000, remaining: 900, resetInMs: HOUR_MS };

interface Gateway {
  readonly ledger: DrawsLedger;
  readonly failover: FailoverLedger;
  readonly driver: LedgerDriver;
}

let fleet: Replicas;
let gateways: [Gateway, Gateway];
let isAway: boolean;

beforeAll(async () => {
  fleet = await Replicas.start();
});
afterAll(() => fleet.stop());

function start(name: string): Gateway {
  const { clock } = fleet;
  const socketPermits = new FakePermits(100);
  const shared = fleet.add(name, { socketPermits });
  const local = new LocalLedger({
    clock,
    random: seededRandom(1),
    apiClock: new ApiClock(),
    socketPermits,
    maxQueue: 100,
    standIn: { replicas: () => 2 },
  });
  const failover = new FailoverLedger({
    shared: shared.ledger,
    local,
    replicas: () => 2,
    async probe(bucketId) {
      if (isAway) throw new Error('still away');
      if (bucketId !== undefined) await shared.ledger.probe(bucketId);
    },
    renew: () => undefined,
    clock,
    random: () => 0.5,
    log: makeLog({
      level: 'fatal',
      replica: name,
      clock,
      destination: { write: () => undefined },
    }),
    observer: { mode: () => undefined },
  });
  const ledger = new DrawsLedger({ ledger: failover, clock, socketPermits });
  return { ledger, failover, driver: new LedgerDriver(ledger, clock, socketPermits) };
}

beforeEach(() => {
  isAway = false;
  gateways = [start('r1'), start('r2')];
});

afterEach(async () => {
  const closed = Promise.all(gateways.map(({ failover }) => failover.close()));
  await fleet.pass(1000);
  await closed;
  await fleet.clear();
});

async function ask({ driver }: Gateway): Promise<Asked> {
  const asked = driver.ask({ quota: QUOTA });
  await fleet.pass(10);
  return asked;
}

/** Sends requests until the quota refuses one, at most `most`, and returns how many were sent. */
async function spend(gateway: Gateway, most: number): Promise<number> {
  for (let sent = 0; sent < most; sent++) {
    const asked = await ask(gateway);
    const { state } = asked;
    if (state.kind === 'shed' && state.code === 'caller-quota' && state.bucket?.id === ID) {
      return sent;
    }
    gateway.driver.answerWithQuota(asked, REPORT);
    await fleet.pass(10);
  }
  return most;
}

function lose(): void {
  isAway = true;
  for (const { failover } of gateways) failover.trouble(new Error('it is away'), ID);
}

async function find(): Promise<void> {
  isAway = false;
  await fleet.pass(10_000);
  expect(gateways.map(({ failover }) => failover.mode)).toEqual(['redis', 'redis']);
}

test('two replicas count one quota', async () => {
  const [one, two] = gateways;
  expect(await spend(one, 4)).toBe(4);
  expect(await spend(two, 20)).toBe(6);
  expect(await spend(one, 1)).toBe(0);
  await fleet.pass(HOUR_MS);
  expect(await spend(one, 20)).toBe(10);
  expect(await spend(two, 1)).toBe(0);
});

test('without Redis, each replica has its part, less what it spent before', async () => {
  const [one, two] = gateways;
  expect(await spend(one, 2)).toBe(2);
  await fleet.pass(1000);
  lose();
  expect(await spend(one, 20)).toBe(3);
  expect(await spend(two, 20)).toBe(5);
  // Nothing is borrowed, however long the other replica spends nothing.
  await fleet.pass(HOUR_MS / 2);
  expect(await spend(one, 1)).toBe(0);
  await find();
  // Redis receives what was spent meanwhile.
  expect(await spend(one, 1)).toBe(0);
  expect(await spend(two, 1)).toBe(0);
  expect(one.ledger.view(ID)).toMatchObject({ limit: 10, remaining: 0 });
  await fleet.pass(HOUR_MS / 2);
  expect(await spend(two, 20)).toBe(10);
});

test('an outage that ends at once gives a caller nothing', async () => {
  const [one, two] = gateways;
  expect(await spend(one, 10)).toBe(10);
  for (let i = 0; i < 5; i++) {
    lose();
    expect(await spend(one, 1)).toBe(0);
    await find();
    expect(await spend(one, 1)).toBe(0);
  }
  expect(await spend(two, 1)).toBe(0);
});

test('answers that Redis had not received when it went away are not forgotten', async () => {
  const [one, two] = gateways;
  expect(await spend(one, 1)).toBe(1);
  await fleet.pass(1000);
  const asked = [await ask(one), await ask(one), await ask(one)];
  for (const each of asked) one.driver.answerWithQuota(each, REPORT);
  lose();
  isAway = false;
  // Redis still has the leases of these requests by then, which their replica no longer declares.
  await fleet.pass(1000);
  expect(await spend(one, 20)).toBe(6);
  expect(await spend(two, 1)).toBe(0);
});

test('a state that Redis lost is rebuilt from what each replica spent', async () => {
  const [one, two] = gateways;
  expect(await spend(one, 6)).toBe(6);
  expect(await spend(two, 3)).toBe(3);
  await fleet.redis.client.flushall();
  expect(await spend(one, 1)).toBe(1);
  expect(await spend(two, 1)).toBe(0);
  expect(await spend(one, 1)).toBe(0);
});
