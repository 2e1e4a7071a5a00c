import { expect, test } from 'vitest';
import { SharedQueue } from '../../../src/ledger/shared/shared-queue.ts';
import type { Waiter } from '../../../src/ledger/transfer.ts';
import { FakeClock } from '../../support/fake-clock.ts';

function setUp() {
  const clock = new FakeClock();
  const queue = new SharedQueue({
    clock,
    latest: ({ deadlineAt }) => deadlineAt,
    answerMs: 200,
    tooLate: () => ({ kind: 'shed', code: 'wait-too-long', retryAfterMs: 0 }),
    onChange: () => undefined,
  });
  const ticket = {
    id: 't',
    bucket: { id: 'b', class: 'read' },
    owner: 'o',
    caller: 'c',
    priority: 'normal',
    weight: 1,
    arrivedAt: clock.now(),
    deadlineAt: clock.now() + 60_000,
  } as const;
  const listeners = new Set<() => void>();
  const signal = {
    gone: false,
    onGone(listener: () => void) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
  const waiter: Waiter = {
    ticket,
    signal,
    resolve: () => undefined,
    isRetry: false,
    notBefore: 0,
  };
  return { clock, queue, waiter, listeners };
}

test('a queue of any length can be emptied, and each ticket is reported as gone', () => {
  const { clock, queue, waiter, listeners } = setUp();
  const count = 200_000;
  for (let i = 0; i < count; i++) queue.add(waiter, i, false);
  expect(queue.nextTickets(count)).toHaveLength(count);
  expect(queue.empty({ reportsGone: true })).toHaveLength(count);
  expect(queue.nextGone(2 * count)).toHaveLength(count);
  expect(clock.pending).toBe(0);
  expect(listeners.size).toBe(0);
});

test('a ticket that is queued again listens to its caller once', () => {
  const { queue, waiter, listeners } = setUp();
  queue.add(waiter, 1, false);
  const removed = queue.remove(1);
  if (removed === undefined) throw new Error('expected the ticket to be queued');
  queue.requeue(removed, 2);
  expect(queue.queued).toBe(1);
  expect(listeners.size).toBe(1);
  for (const listener of listeners) listener();
  expect([queue.queued, listeners.size]).toEqual([0, 0]);
});
