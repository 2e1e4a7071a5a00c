import { expect, test } from 'vitest';
import { SharedQueue } from '../../../src/ledger/shared/queue.ts';
import { FakeClock } from '../../support/fake-clock.ts';

test('the tickets of a queue of any length are given away, and the shared queue hears of each', () => {
  const clock = new FakeClock();
  const waiting = new SharedQueue({
    clock,
    latest: ({ deadlineAt }) => deadlineAt,
    answerMs: 200,
    tooLate: () => ({ kind: 'shed', code: 'wait-too-long', retryAfterMs: 0 }),
    onNews: () => undefined,
  });
  const count = 200_000;
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
  const signal = { gone: false, onGone: () => () => undefined };
  for (let i = 0; i < count; i++) {
    const waiter = { ticket, signal, tell: () => undefined, isRetry: false, notBefore: 0 };
    waiting.add(waiter, i, false);
  }
  expect(waiting.nextTickets(count)).toHaveLength(count);
  expect(waiting.empty({ leaves: true })).toHaveLength(count);
  expect(waiting.nextGone(2 * count)).toHaveLength(count);
  expect(clock.pending).toBe(0);
});
