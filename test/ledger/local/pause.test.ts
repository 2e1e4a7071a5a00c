import { expect, test } from 'vitest';
import { ApiClock } from '../../../src/rate-headers/api-clock.ts';
import type { CallerSignal, Ticket } from '../../../src/ledger/ledger.ts';
import { LocalLedger } from '../../../src/ledger/local/local-ledger.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const BUCKET = { id: 'abc:read', class: 'read' };
const STAYS: CallerSignal = { gone: false, onGone: () => () => undefined };

function setUp() {
  const clock = new FakeClock();
  const ledger = new LocalLedger({
    clock,
    random: () => 0.5,
    apiClock: new ApiClock(),
    socketPermits: { free: 1, take: () => true, onFree: () => undefined },
    maxQueue: 100,
    configuredLimit: { limit: 10, periodMs: 60_000 },
  });
  let tickets = 0;
  const ticket = (waitMs = 60_000): Ticket => ({
    id: `t${tickets++}`,
    bucket: BUCKET,
    owner: '127.0.0.1',
    caller: 'reports',
    priority: 'normal',
    weight: 1,
    arrivedAt: clock.now(),
    deadlineAt: clock.now() + waitMs,
  });
  return { clock, ledger, ticket };
}

test('a paused bucket grants nothing until it is resumed', async () => {
  const { clock, ledger, ticket } = setUp();
  const first = ledger.acquire(ticket(), STAYS);
  expect(first.kind).toBe('granted');
  expect(ledger.pause(BUCKET.id)).toBe(true);

  const held = ledger.acquire(ticket(), STAYS);
  if (held.kind !== 'waiting') throw new Error(`expected it to wait, it was ${held.kind}`);
  clock.advance(30_000);
  expect(ledger.view(BUCKET.id)).toMatchObject({ waiting: 1, paused: true });

  expect(ledger.resume(BUCKET.id)).toBe(true);
  expect((await held.outcome).kind).toBe('granted');
  expect(ledger.view(BUCKET.id)).not.toHaveProperty('paused');
  await ledger.close();
});

test('a ticket that waits in a paused bucket is shed at its deadline', async () => {
  const { clock, ledger, ticket } = setUp();
  ledger.acquire(ticket(), STAYS);
  ledger.pause(BUCKET.id);
  const held = ledger.acquire(ticket(5000), STAYS);
  if (held.kind !== 'waiting') throw new Error(`expected it to wait, it was ${held.kind}`);
  clock.advance(5000);
  expect(await held.outcome).toMatchObject({ kind: 'shed', code: 'wait-too-long' });
  expect(clock.pending).toBe(0);
  await ledger.close();
});

test('a bucket that does not exist can be neither paused nor resumed', () => {
  const { ledger } = setUp();
  expect(ledger.pause('unknown:read')).toBe(false);
  expect(ledger.resume('unknown:read')).toBe(false);
});

test('the snapshot forecasts the last waiting ticket’s grant, unless the bucket is paused', () => {
  const { clock, ledger, ticket } = setUp();
  for (let i = 0; i < 10; i++) {
    const granted = ledger.acquire(ticket(), STAYS);
    if (granted.kind !== 'granted') throw new Error(`expected a grant, it was ${granted.kind}`);
    const answer = {
      status: 200,
      reading: {
        limit: 10,
        remaining: 9 - i,
        reset: { kind: 'delay', afterMs: 20_000, resolutionMs: 0 },
      },
      sentAt: clock.now(),
      receivedAt: clock.now(),
    } as const;
    ledger.settle(granted.grant, { kind: 'answered', answer });
  }
  ledger.acquire(ticket(), STAYS);
  const [bucket] = ledger.snapshot();
  expect(bucket?.waitingHereByCaller).toEqual({ reports: 1 });
  expect(bucket?.etaMs).toBeGreaterThan(19_000);
  expect(bucket?.etaMs).toBeLessThan(23_000);
  ledger.pause(BUCKET.id);
  expect(ledger.snapshot()[0]).not.toHaveProperty('etaMs');
  expect(clock.pending).toBe(1);
});
