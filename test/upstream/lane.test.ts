import { describe, expect, onTestFinished, test } from 'vitest';
import { makeLane, type Lane, type LaneOptions } from '../../src/upstream/lane.ts';
import type { CallerSignal } from '../../src/ledger/ledger.ts';
import { until } from '../support/setup.ts';

const STAYS: CallerSignal = { gone: false, onGone: () => () => undefined };

function open(options: Partial<LaneOptions> = {}): Lane {
  const lane = makeLane({ concurrency: 3, intervalMs: 0, ...options });
  onTestFinished(() => lane.close());
  return lane;
}

/** Jobs that end when told, and how many of them are out. */
class Jobs {
  readonly ended: Promise<unknown>[] = [];
  out = 0;
  most = 0;
  readonly #ends: (() => void)[] = [];

  start(lane: Lane, bucket = 'b', signal = STAYS): void {
    const job = (): Promise<string> => {
      this.most = Math.max(this.most, ++this.out);
      return new Promise((resolve) => {
        this.#ends.push(() => {
          this.out--;
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
  test('never has more out than it is wide, and gets to all of them', async () => {
    const lane = open();
    const jobs = new Jobs();
    for (let i = 0; i < 30; i++) jobs.start(lane);
    for (let left = 30; left > 0; left--) {
      await until('as many are out as may be', () => jobs.out === Math.min(3, left));
      jobs.endOne();
    }
    const sent = Array.from({ length: 30 }, () => ({ kind: 'ran', value: 'sent' }));
    expect(await Promise.all(jobs.ended)).toEqual(sent);
    expect([jobs.most, lane.queued]).toEqual([3, 0]);
  });

  test('starts a job at once while there is room, and counts it all the same', async () => {
    const lane = open();
    const jobs = new Jobs();
    for (let i = 0; i < 5; i++) jobs.start(lane);
    expect([jobs.out, lane.queued]).toEqual([3, 2]);
    jobs.endOne();
    await until('the next one is out', () => lane.queued === 1);
    expect([jobs.out, jobs.most]).toEqual([3, 3]);
  });

  test('of one bucket does not keep another one waiting', async () => {
    const lane = open({ concurrency: 1 });
    const jobs = new Jobs();
    for (const bucket of ['a', 'a', 'b']) jobs.start(lane, bucket);
    await until('one of each is out', () => jobs.out === 2);
    expect(lane.queued).toBe(1);
  });

  test('tells what a job failed with, and goes on', async () => {
    const lane = open({ concurrency: 1 });
    const fail = (): Promise<never> => Promise.reject(new Error('broken'));
    const both = [lane.run('b', STAYS, fail), lane.run('b', STAYS, fail)];
    await expect(both[0]).rejects.toThrow('broken');
    await expect(both[1]).rejects.toThrow('broken');
    expect(await lane.run('b', STAYS, () => Promise.resolve(1))).toEqual({ kind: 'ran', value: 1 });
  });

  test('lets go at once of one that leaves while it waits, and passes it over', async () => {
    const lane = open({ concurrency: 1 });
    const jobs = new Jobs();
    jobs.start(lane);
    await until('the first one is out', () => jobs.out === 1);
    let leave: (() => void) | undefined;
    jobs.start(lane, 'b', {
      gone: false,
      onGone: (listener) => ((leave = listener), () => undefined),
    });
    jobs.start(lane);
    expect(lane.queued).toBe(2);
    leave?.();
    expect(await jobs.ended[1]).toEqual({ kind: 'cancelled' });
    expect(lane.queued).toBe(1);
    jobs.endOne();
    await until('the last one is out', () => jobs.out === 1);
    jobs.endOne();
    expect(await jobs.ended[2]).toEqual({ kind: 'ran', value: 'sent' });
  });

  test('lets nobody start before the interval is over, however much room there is', async () => {
    const lane = open({ intervalMs: 600_000 });
    const jobs = new Jobs();
    for (let i = 0; i < 3; i++) jobs.start(lane);
    await until('the first one is out', () => jobs.out > 0);
    expect([jobs.out, lane.queued]).toEqual([1, 2]);
  });
});
