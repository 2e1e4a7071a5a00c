import { expect, test } from 'vitest';
import { RecentActivity } from '../../src/telemetry/recent-activity.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { callLine } from '../support/log-fixtures.ts';

const ALL = (): boolean => true;

test('calls are returned newest first, and those beyond the limit are counted', () => {
  const activity = new RecentActivity(new FakeClock());
  for (let i = 1; i <= 5; i++) activity.record(callLine({ id: `c${i}` }));
  const { calls, skipped } = activity.since(0, 2, ALL);
  expect(calls.map(({ line }) => line.id)).toEqual(['c5', 'c4']);
  expect(skipped).toBe(3);
});

test('only calls after the given number are returned', () => {
  const activity = new RecentActivity(new FakeClock());
  for (let i = 1; i <= 3; i++) activity.record(callLine({ id: `c${i}` }));
  const seen = activity.sequence;
  expect(activity.since(seen, 10, ALL).calls).toEqual([]);
  activity.record(callLine({ id: 'c4' }));
  expect(activity.since(seen, 10, ALL).calls.map(({ line }) => line.id)).toEqual(['c4']);
});

test('calls that do not match are not counted', () => {
  const activity = new RecentActivity(new FakeClock());
  for (let i = 0; i < 10; i++) activity.record(callLine({ caller: i % 2 === 0 ? 'even' : 'odd' }));
  const { calls, skipped } = activity.since(0, 3, ({ caller }) => caller === 'odd');
  expect(calls.map(({ line }) => line.caller)).toEqual(['odd', 'odd', 'odd']);
  expect(skipped).toBe(2);
});

test('only the last thousand calls are kept', () => {
  const activity = new RecentActivity(new FakeClock());
  for (let i = 1; i <= 2500; i++) activity.record(callLine({ id: `c${i}` }));
  const { calls, skipped } = activity.since(0, 5000, ALL);
  expect(calls).toHaveLength(1000);
  expect(skipped).toBe(0);
  expect(calls[0]?.line.id).toBe('c2500');
  expect(calls.at(-1)?.line.id).toBe('c1501');
});
