import { describe, expect, onTestFinished, test } from 'vitest';
import { makeLane, type Lane, type LaneOptions } from '../../src/upstream/lane.ts';
import type { CallerSignal } from '../../src/ledger/ledger.ts';
import { until } from '../support/setup.ts';

const STAYING: CallerSignal = { gone: false, onGone: () => () => undefined };

function open(options: Partial<LaneOptions> = {}): Lane {
  const lane = makeLane({ concurrency: 3, intervalMs: 0, ...options });
  onTestFinished(() => lane.close());
  return lane;
}

/** Jobs that a test ends, with the number of them that run. */
class Jobs {
  readonly ended: Promise<unknown>[] = [];
  running = 0;
  maxRunning = 0;
  readonly #ends: (() => void)[] = [];

  start(lane: Lane, bucket = 'b', signal = STAYING): void {
    const job = (): Promise<string> => {
      this.maxRunning = Math.max(this.maxRunning, ++this.running);
      return new Promise((resolve) => {
        this.#ends.push(() => {
          this.running--;
          resolve('sent');
        });
      });
    };
    this.ended.push(lane.run(bucket, signal, job));
  }

  endOne(): void {
    this.#ends.shift()?.();
  }
}

describe('a lane', () => {
  test('never runs more jobs than its concurrency, and runs all of them', async () => {
    const lane = open();
    const jobs = new Jobs();
    for (let i = 0; i < 30; i++) jobs.start(lane);
    for (let left = 30; left > 0; left--) {
      await until('as many run as allowed', () => jobs.running === Math.min(3, left));
      jobs.endOne();
    }
    const sent = Array.from({ length: 30 }, () => ({ kind: 'ran', value: 'sent' }));
    expect(await Promise.all(jobs.ended)).toEqual(sent);
    expect([jobs.maxRunning, lane.queued]).toEqual([3, 0]);
  });

  test('starts a job at once while there is room, and counts it', async () => {
    const lane = open();
    const jobs = new Jobs();
    for (let i = 0; i < 5; i++) jobs.start(lane);
    expect([jobs.running, lane.queued]).toEqual([3, 2]);
    jobs.endOne();
    await until('the next one runs', () => lane.queued === 1);
    expect([jobs.running, jobs.maxRunning]).toEqual([3, 3]);
  });

  test('of one bucket does not delay another bucket', async () => {
    const lane = open({ concurrency: 1 });
    const jobs = new Jobs();
    for (const bucket of ['a', 'a', 'b']) jobs.start(lane, bucket);
    await until('one of each runs', () => jobs.running === 2);
    expect(lane.queued).toBe(1);
  });

  test('rejects with the error of a job, and continues', async () => {
    const lane = open({ concurrency: 1 });
    const fail = (): Promise<never> => Promise.reject(new Error('broken'));
    const both = [lane.run('b', STAYING, fail), lane.run('b', STAYING, fail)];
    await expect(both[0]).rejects.toThrow('broken');
    await expect(both[1]).rejects.toThrow('broken');
    expect(await lane.run('b', STAYING, () => Promise.resolve(1))).toEqual({
      kind: 'ran',
      value: 1,
    });
  });

  test('cancels a waiting job as soon as its caller has gone, and skips it', async () => {
    const lane = open({ concurrency: 1 });
    const jobs = new Jobs();
    jobs.start(lane);
    await until('the first one runs', () => jobs.running === 1);
    let disconnect: (() => void) | undefined;
    jobs.start(lane, 'b', {
      gone: false,
      onGone: (listener) => ((disconnect = listener), () => undefined),
    });
    jobs.start(lane);
    expect(lane.queued).toBe(2);
    disconnect?.();
    expect(await jobs.ended[1]).toEqual({ kind: 'cancelled' });
    expect(lane.queued).toBe(1);
    jobs.endOne();
    await until('the last one runs', () => jobs.running === 1);
    jobs.endOne();
    expect(await jobs.ended[2]).toEqual({ kind: 'ran', value: 'sent' });
  });

  test('starts no job before the interval has passed, however much room there is', async () => {
    const lane = open({ intervalMs: 600_000 });
    const jobs = new Jobs();
    for (let i = 0; i < 3; i++) jobs.start(lane);
    await until('the first one runs', () => jobs.running > 0);
    expect([jobs.running, lane.queued]).toEqual([1, 2]);
  });
});
