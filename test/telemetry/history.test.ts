import { expect, test } from 'vitest';
import { History } from '../../src/telemetry/history.ts';
import { FakeClock } from '../support/fake-clock.ts';

const ANSWERED = { outcome: 'answered', waitMs: 0 } as const;

test('calls are counted by outcome in the step of time in which they end', () => {
  const clock = new FakeClock();
  const history = new History(clock);
  history.add(ANSWERED);
  history.add({ outcome: 'shed', waitMs: 0 });
  history.throttled();
  clock.advance(5000);
  history.add({ outcome: 'failed', waitMs: 0 });
  history.add({ outcome: 'aborted', waitMs: 0 });
  expect(history.points()).toEqual([
    expect.objectContaining({ calls: 2, answered: 1, shed: 1, failed: 0, throttled: 1 }),
    expect.objectContaining({ calls: 2, answered: 0, failed: 1, aborted: 1, throttled: 0 }),
  ]);
});

test('a point has the time of the wall clock', () => {
  const clock = new FakeClock({ startMs: 1_000_000, epochMs: Date.UTC(2026, 0, 1) });
  const history = new History(clock);
  history.add(ANSWERED);
  clock.advance(7000);
  expect(history.points()[0]?.at).toBe(Date.UTC(2026, 0, 1));
});

test('the median and the 95th percentile of the waits are within a fifth', () => {
  const history = new History(new FakeClock());
  for (let i = 0; i < 90; i++) history.add({ outcome: 'answered', waitMs: 100 });
  for (let i = 0; i < 10; i++) history.add({ outcome: 'answered', waitMs: 60_000 });
  const [point] = history.points();
  expect(point?.waitP50).toBeGreaterThan(80);
  expect(point?.waitP50).toBeLessThan(120);
  expect(point?.waitP95).toBeGreaterThan(50_000);
  expect(point?.waitP95).toBeLessThan(72_000);
});

test('calls that did not wait count with a wait of 0', () => {
  const history = new History(new FakeClock());
  history.add(ANSWERED);
  expect(history.points()[0]).toMatchObject({ waitP50: 0, waitP95: 0 });
});

test('points older than fifteen minutes are dropped, and their memory is reused', () => {
  const clock = new FakeClock();
  const history = new History(clock);
  for (let i = 0; i < 500; i++) {
    history.add({ outcome: 'answered', waitMs: 1000 });
    clock.advance(5000);
  }
  const points = history.points();
  expect(points).toHaveLength(179);
  expect(points.every(({ calls }) => calls === 1)).toBe(true);
  clock.advance(15 * 60_000);
  expect(history.points()).toEqual([]);
});
