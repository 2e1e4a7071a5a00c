import { expect, test } from 'vitest';
import { Feed } from '../../src/telemetry/feed.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { callLine } from '../support/log-fixtures.ts';

const ALL = (): boolean => true;

test('calls come newest first, and what is beyond the number asked for is counted', () => {
  const feed = new Feed(new FakeClock());
  for (let i = 1; i <= 5; i++) feed.record(callLine({ id: `c${i}` }));
  const { calls, skipped } = feed.since(0, 2, ALL);
  expect(calls.map(({ line }) => line.id)).toEqual(['c5', 'c4']);
  expect(skipped).toBe(3);
});

test('whoever has seen a call gets only those after it', () => {
  const feed = new Feed(new FakeClock());
  for (let i = 1; i <= 3; i++) feed.record(callLine({ id: `c${i}` }));
  const seen = feed.sequence;
  expect(feed.since(seen, 10, ALL).calls).toEqual([]);
  feed.record(callLine({ id: 'c4' }));
  expect(feed.since(seen, 10, ALL).calls.map(({ line }) => line.id)).toEqual(['c4']);
});

test('a filter does not count what it does not want', () => {
  const feed = new Feed(new FakeClock());
  for (let i = 0; i < 10; i++) feed.record(callLine({ caller: i % 2 === 0 ? 'even' : 'odd' }));
  const { calls, skipped } = feed.since(0, 3, ({ caller }) => caller === 'odd');
  expect(calls.map(({ line }) => line.caller)).toEqual(['odd', 'odd', 'odd']);
  expect(skipped).toBe(2);
});

test('only the last thousand calls are kept', () => {
  const feed = new Feed(new FakeClock());
  for (let i = 1; i <= 2500; i++) feed.record(callLine({ id: `c${i}` }));
  const { calls, skipped } = feed.since(0, 5000, ALL);
  expect(calls).toHaveLength(1000);
  expect(skipped).toBe(0);
  expect(calls[0]?.line.id).toBe('c2500');
  expect(calls.at(-1)?.line.id).toBe('c1501');
});
