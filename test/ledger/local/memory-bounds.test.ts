import { randomBytes } from 'node:crypto';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { ApiClock } from '../../../src/rate-headers/api-clock.ts';
import { readRateLimit } from '../../../src/rate-headers/rate-headers.ts';
import { makeCredentialHash } from '../../../src/gateway/identify/credentials.ts';
import type { CallerSignal, SocketPermits, Ticket } from '../../../src/ledger/ledger.ts';
import { LocalLedger } from '../../../src/ledger/local/local-ledger.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { seededRandom } from '../../support/seeded-random.ts';

const STAYS: CallerSignal = { gone: false, onGone: () => () => undefined };
const ALWAYS_FREE: SocketPermits = { free: 1, take: () => true, onFree: () => undefined };

function makeLedger(): { ledger: LocalLedger; clock: FakeClock } {
  const clock = new FakeClock();
  const ledger = new LocalLedger({
    clock,
    random: seededRandom(1),
    apiClock: new ApiClock(),
    socketPermits: ALWAYS_FREE,
    maxQueue: 100,
  });
  return { ledger, clock };
}

function ticketFor(bucketId: string, clock: FakeClock): Ticket {
  return {
    id: bucketId,
    bucket: { id: bucketId, class: 'read' },
    owner: '127.0.0.1',
    caller: 'reports',
    priority: 'normal',
    weight: 1,
    arrivedAt: clock.now(),
    deadlineAt: clock.now() + 120_000,
  };
}

const READING = readRateLimit({
  'x-ratelimit-limit': '80',
  'x-ratelimit-remaining': '79',
  'x-ratelimit-reset': '60',
});

/** One answered call of a new credential. */
function callOnce(ledger: LocalLedger, clock: FakeClock, bucketId: string): void {
  const admission = ledger.acquire(ticketFor(bucketId, clock), STAYS);
  if (admission.kind !== 'granted') throw new Error(`expected a grant, got ${admission.kind}`);
  clock.advance(1);
  const at = clock.now();
  ledger.settle(admission.grant, {
    kind: 'answered',
    answer: { status: 200, reading: READING, sentAt: at - 1, receivedAt: at },
  });
}

/** Megabytes of live objects, after a garbage collection. */
function liveMb(): number {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  if (typeof collect === 'function') collect();
  return process.memoryUsage().heapUsed / 2 ** 20;
}

test('100,000 random credentials do not grow memory without end', () => {
  const { ledger, clock } = makeLedger();
  const hash = makeCredentialHash(randomBytes(32));
  const spend = (count: number): void => {
    for (let i = 0; i < count; i++) {
      callOnce(ledger, clock, `${hash(`token ${randomBytes(20).toString('hex')}`)}:read`);
    }
  };
  spend(20_000);
  const before = liveMb();
  spend(80_000);
  const grownMb = liveMb() - before;
  expect(ledger.snapshot()).toHaveLength(10_000);
  // Eighty thousand buckets would be some 160 MB.
  expect(grownMb).toBeLessThan(8);
});

test('a bucket with a lease or a waiting ticket outlasts all idle ones', () => {
  const { ledger, clock } = makeLedger();
  const out = ledger.acquire(ticketFor('out:read', clock), STAYS);
  expect(out.kind).toBe('granted');
  expect(ledger.acquire(ticketFor('out:read', clock), STAYS).kind).toBe('waiting');
  for (let i = 0; i < 12_000; i++) callOnce(ledger, clock, `${i}:read`);
  expect(ledger.view('out:read')).toMatchObject({ id: 'out:read', class: 'read' });
  expect(ledger.snapshot().length).toBeLessThanOrEqual(10_000);
});

test('a bucket whose last waiting caller has gone sets no timer', () => {
  const { ledger, clock } = makeLedger();
  let leave: (() => void) | undefined;
  const signal: CallerSignal = {
    gone: false,
    onGone: (listener) => ((leave = listener), () => undefined),
  };
  const first = ledger.acquire(ticketFor('left', clock), STAYS);
  expect(first.kind).toBe('granted');
  expect(ledger.acquire(ticketFor('left', clock), signal).kind).toBe('waiting');
  expect(clock.pending).toBe(2);
  leave?.();
  expect(clock.pending).toBe(0);
});
