import { ApiClock } from '../../src/rate-headers/api-clock.ts';
import { LocalLedger } from '../../src/ledger/local/local-ledger.ts';
import type { Grant, CallerSignal, Ticket } from '../../src/ledger/ledger.ts';
import { systemClock } from '../../src/util/system-clock.ts';
import type { Figure } from '../support/figures.ts';
import { median } from '../support/statistics.ts';

const OPERATIONS = 100_000;
/** So often, that of an operation's cost little is left that only the first one has. */
const IN_A_ROW = 20;
const STAYS: CallerSignal = { gone: false, onGone: () => () => undefined };
const HOUR_MS = 3_600_000;

export interface LedgerOptions {
  readonly rounds: number;
}

/** Whether an operation costs the same however many buckets there are and tickets wait. */
export function measureLedger({ rounds: count }: LedgerOptions): Promise<Figure[]> {
  const rounds = (run: () => number): number[] => {
    run();
    return Array.from({ length: count }, run);
  };
  const few = median(rounds(() => perOperationUs(1)));
  const many = median(rounds(() => perOperationUs(100_000)));
  const inARow = median(rounds(() => perOperationUs(100_000, IN_A_ROW)));
  const fewBare = median(rounds(() => perBareUs(1)));
  const manyBare = median(rounds(() => perBareUs(100_000)));
  const empty = median(rounds(() => perQueuedUs(0)));
  const long = median(rounds(() => perQueuedUs(50_000)));
  const flat = (what: string, value: number): Figure => ({
    what,
    value,
    unit: '×',
    goal: { at: 'most', bound: 1.25 },
  });
  return Promise.resolve([
    flat('memory ledger: cost with 100,000 buckets / with 1', many / few),
    flat('memory ledger: cost with 50,000 waiting / with none', long / empty),
    { what: 'memory ledger: granted at once and settled, 1 bucket', value: few, unit: ' µs' },
    { what: 'memory ledger: … more with 100,000 buckets', value: many - few, unit: ' µs' },
    {
      what: `memory ledger: … more where each of them is used ${IN_A_ROW} times in a row`,
      value: inARow - few,
      unit: ' µs',
    },
    { what: 'a bare Map: … more with 100,000 entries', value: manyBare - fewBare, unit: ' µs' },
    { what: 'memory ledger: queued and taken out again', value: empty, unit: ' µs' },
  ]);
}

function makeLedger(): LocalLedger {
  return new LocalLedger({
    clock: systemClock,
    random: () => 0.5,
    apiClock: new ApiClock(),
    socketPermits: { free: 1, take: () => true, onFree: () => undefined },
    maxQueue: 1_000_000,
    maxBuckets: 1_000_000,
  });
}

function ticketFor(bucket: string, number: number): Ticket {
  const now = systemClock.now();
  return {
    id: String(number),
    bucket: { id: bucket, class: 'read' },
    owner: '127.0.0.1',
    caller: `caller-${number % 8}`,
    priority: 'normal',
    weight: 1,
    arrivedAt: now,
    deadlineAt: now + HOUR_MS,
  };
}

/**
 * What a ledger of nothing but a Map and two objects a bucket would take, that looks a bucket up
 * twice: the part of the cost of many buckets that no ledger can save.
 */
function perBareUs(buckets: number): number {
  const all = new Map<string, { grants: number; readonly told: { answers: number } }>();
  for (let i = 0; i < buckets; i++) all.set(`bucket-${i}`, { grants: 0, told: { answers: 0 } });
  const tickets = Array.from({ length: OPERATIONS }, (_, i) =>
    ticketFor(`bucket-${(i * 7919) % buckets}`, i),
  );
  const startedAt = performance.now();
  for (const { bucket } of tickets) {
    const granting = all.get(bucket.id);
    if (granting !== undefined) granting.grants++;
    const settling = all.get(bucket.id);
    if (settling !== undefined) settling.told.answers++;
  }
  return ((performance.now() - startedAt) * 1000) / OPERATIONS;
}

/** Grants at once and settles with an answer, in turn over the buckets, each so often in a row. */
function perOperationUs(buckets: number, inARow = 1): number {
  const ledger = makeLedger();
  for (let i = 0; i < buckets; i++) operate(ledger, ticketFor(`bucket-${i}`, i));
  const tickets = Array.from({ length: OPERATIONS }, (_, i) =>
    ticketFor(`bucket-${(Math.floor(i / inARow) * 7919) % buckets}`, i),
  );
  const startedAt = performance.now();
  for (const ticket of tickets) operate(ledger, ticket);
  const us = ((performance.now() - startedAt) * 1000) / OPERATIONS;
  void ledger.close();
  return us;
}

function operate(ledger: LocalLedger, ticket: Ticket): void {
  const admission = ledger.acquire(ticket, STAYS);
  if (admission.kind !== 'granted') throw new Error(`expected a grant, got ${admission.kind}`);
  answer(ledger, admission.grant, 1_000_000_000);
}

function answer(ledger: LocalLedger, grant: Grant, remaining: number): void {
  const receivedAt = systemClock.now();
  ledger.settle(grant, {
    kind: 'answered',
    answer: {
      status: 200,
      reading: {
        limit: 1_000_000_001,
        remaining,
        reset: { kind: 'delay', afterMs: HOUR_MS, resolutionMs: 0 },
      },
      sentAt: receivedAt,
      receivedAt,
    },
  });
}

/**
 * A ticket joins a queue of `waiting` and its caller leaves again, so often that what the collector
 * has to move of those who wait does not count.
 */
function perQueuedUs(waiting: number): number {
  const ledger = makeLedger();
  const first = ledger.acquire(ticketFor('bucket', 0), STAYS);
  if (first.kind !== 'granted') throw new Error(`expected a grant, got ${first.kind}`);
  answer(ledger, first.grant, 0);
  for (let i = 0; i < waiting; i++) ledger.acquire(ticketFor('bucket', i), STAYS);
  const tickets = Array.from({ length: OPERATIONS }, (_, i) => ticketFor('bucket', i));
  const startedAt = performance.now();
  for (const ticket of tickets) {
    let leave: (() => void) | undefined;
    ledger.acquire(ticket, {
      gone: false,
      onGone: (listener) => {
        leave = listener;
        return () => undefined;
      },
    });
    leave?.();
  }
  const us = ((performance.now() - startedAt) * 1000) / OPERATIONS;
  void ledger.close();
  return us;
}
