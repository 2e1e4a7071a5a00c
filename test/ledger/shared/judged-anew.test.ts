// @module-tag needs-redis-server
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Asked } from '../../support/ledger-driver.ts';
import { Replicas } from '../../support/redis-replicas.ts';

const MINUTE_MS = 60_000;
const NEVER = new Promise<never>(() => undefined);

let fleet: Replicas;

beforeAll(async () => {
  fleet = await Replicas.start();
});
afterAll(() => fleet.stop());
afterEach(() => fleet.clear());

test('a ticket that is judged anew keeps its place before later ones of its flow', async () => {
  const { driver } = fleet.add('a', { maxQueue: 10_000 });
  const first = driver.ask();
  await fleet.quiet();
  driver.answer(first, { limit: 10, remaining: 0, resetInMs: MINUTE_MS });
  await fleet.quiet();
  const early = driver.ask({ maxWaitMs: 2 * MINUTE_MS });
  await fleet.pass(1);
  // They make the forecast of the last ticket later than the deadline of the first.
  const later = Array.from({ length: 100 }, () => driver.ask({ maxWaitMs: 60 * MINUTE_MS }));
  await fleet.pass(100);
  expect(early.state.kind).toBe('waiting');
  expect(count(later, 'waiting')).toBe(later.length);
  await fleet.pass(MINUTE_MS);
  expect(early.state.kind).toBe('granted');
});

function count(all: readonly Asked[], kind: Asked['state']['kind']): number {
  return all.filter(({ state }) => state.kind === kind).length;
}

test('many tickets that are judged anew take few steps, and all keep waiting', async () => {
  const names = ['a', 'b'];
  const replicas = names.map((name) => fleet.add(name, { maxQueue: 10_000, sockets: 1 }));
  const [a, b] = replicas;
  if (a === undefined || b === undefined) throw new Error('expected two replicas');
  // Steps that never end would keep this test from ending.
  for (const one of replicas) one.interceptAll = (run) => (one.steps > 400 ? NEVER : run());
  const first = a.driver.ask();
  await fleet.quiet();
  a.driver.answer(first, { limit: 200, remaining: 0, resetInMs: MINUTE_MS });
  await fleet.quiet();
  const asked: Asked[] = [];
  for (const { driver, name } of replicas) {
    for (let i = 0; i < 600; i++) {
      const short = { caller: `short-${name}`, owner: `short-${name}`, maxWaitMs: 16 * MINUTE_MS };
      asked.push(driver.ask(short));
    }
    for (let i = 0; i < 1200; i++) {
      const long = { caller: `long-${name}`, owner: `long-${name}`, maxWaitMs: 60 * MINUTE_MS };
      asked.push(driver.ask(long));
    }
  }
  await fleet.quiet();
  expect(count(asked, 'waiting')).toBe(asked.length);
  expect(a.ledger.view('b')?.waiting).toBe(asked.length);
  expect(a.steps + b.steps).toBeLessThan(100);
});
