import { afterEach, expect, test } from 'vitest';
import { z } from 'zod';
import { makeEvents, MOST_WATCHERS, type Events } from '../../src/admin/events.ts';
import type { BucketSnapshot } from '../../src/ledger/ledger.ts';
import { Feed, type CallFilter } from '../../src/telemetry/feed.ts';
import { callLine } from '../support/log-fixtures.ts';
import { FakeClock } from '../support/fake-clock.ts';

const said = z.object({
  calls: z.object({
    shown: z.array(z.object({ id: z.string() })),
    sampledOut: z.number(),
    missed: z.number(),
  }),
  replica: z.string(),
  ledger: z.string(),
  total: z.number(),
  buckets: z.array(z.object({ id: z.string() })),
  bucketsHidden: z.number(),
  points: z.array(z.object({ calls: z.number() })),
});
interface Heard {
  readonly event: string;
  readonly data: z.output<typeof said>;
}

const ALL: CallFilter = () => true;
const open: Events[] = [];
afterEach(() => {
  for (const events of open.splice(0)) events.close();
});

function setUp() {
  const clock = new FakeClock();
  const feed = new Feed(clock);
  const buckets: BucketSnapshot[] = [];
  const events = makeEvents({
    clock,
    feed,
    ledger: { snapshot: () => buckets },
    ledgerMode: () => 'memory',
    isDraining: () => false,
    replica: 'one',
    version: '1',
  });
  open.push(events);
  return { clock, feed, buckets, events };
}

function watch(events: Events, wanted = ALL): ReadableStreamDefaultReader<Uint8Array> {
  const stream = events.watch(wanted);
  if (stream === undefined) throw new Error('there are enough watchers');
  return stream.getReader();
}

/** The next event; the line that says when to try again is passed over. */
async function hear(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<Heard> {
  for (;;) {
    const { value } = await reader.read();
    const text = new TextDecoder().decode(value);
    const [, event = '', data = ''] = /^id: \d+\nevent: (\w+)\ndata: (.*)\n\n$/.exec(text) ?? [];
    if (event !== '') return { event, data: said.parse(JSON.parse(data)) };
  }
}

test('a watcher first hears everything, and then once a second what changed', async () => {
  const { clock, feed, events } = setUp();
  feed.record(callLine({ id: 'before' }));
  const reader = watch(events);
  const first = await hear(reader);
  expect(first.event).toBe('snapshot');
  expect(first.data).toMatchObject({ replica: 'one', ledger: 'memory', total: 1 });
  expect(first.data.calls.shown).toEqual([{ id: 'before' }]);
  expect(first.data.points).toEqual([{ calls: 1 }]);

  feed.record(callLine({ id: 'after' }));
  clock.advance(1000);
  const second = await hear(reader);
  expect(second.event).toBe('tick');
  expect(second.data.calls.shown).toEqual([{ id: 'after' }]);
  expect(second.data.total).toBe(2);
});

test('a watcher hears only of the calls that it wants', async () => {
  const { clock, feed, events } = setUp();
  const reader = watch(events, ({ caller }) => caller === 'billing');
  await hear(reader);
  for (let i = 0; i < 500; i++) feed.record(callLine({ id: `r${i}` }));
  feed.record(callLine({ id: 'b', caller: 'billing' }));
  clock.advance(1000);
  const { calls } = (await hear(reader)).data;
  expect(calls).toEqual({ shown: [{ id: 'b' }], sampledOut: 0, missed: 0 });
});

test('of five thousand calls a second it shows fifty, and says what it leaves out', async () => {
  const { clock, feed, events } = setUp();
  const reader = watch(events);
  await hear(reader);
  for (let i = 1; i <= 5000; i++) feed.record(callLine({ id: `c${i}` }));
  clock.advance(1000);
  const { calls } = (await hear(reader)).data;
  expect(calls.shown).toHaveLength(50);
  expect(calls.shown[0]).toEqual({ id: 'c5000' });
  expect(calls.sampledOut + calls.missed + calls.shown.length).toBe(5000);
});

test('of many buckets it shows those in which most waits, and counts the others', async () => {
  const { buckets, events } = setUp();
  for (let i = 0; i < 500; i++) {
    const waiting = i === 499 ? 3 : 0;
    buckets.push({ id: `b${i}`, class: 'read', leases: 0, waiting, waitingByCaller: {} });
  }
  const { data } = await hear(watch(events));
  expect(data.buckets).toHaveLength(60);
  expect(data.buckets).toContainEqual({ id: 'b499' });
  expect(data.bucketsHidden).toBe(440);
});

test('there is room for so many watchers, and a place comes free when one leaves', async () => {
  const { events } = setUp();
  const readers = Array.from({ length: MOST_WATCHERS }, () => watch(events));
  expect(events.watch(ALL)).toBeUndefined();
  await readers[0]?.cancel();
  expect(events.watchers).toBe(MOST_WATCHERS - 1);
  expect(events.watch(ALL)).toBeInstanceOf(ReadableStream);
});

test('a watcher that does not read is dropped before its backlog grows large', async () => {
  const { clock, feed, events } = setUp();
  const lazy = watch(events);
  const path = `/${'x'.repeat(2000)}`;
  for (let second = 0; second < 60; second++) {
    for (let i = 0; i < 50; i++) feed.record(callLine({ path }));
    clock.advance(1000);
  }
  expect(events.watchers).toBe(0);
  await expect(lazy.read()).rejects.toThrow('the watcher reads too slowly');
});

test('nothing runs while nobody watches', async () => {
  const { clock, events } = setUp();
  expect(clock.pending).toBe(0);
  const reader = watch(events);
  expect(clock.pending).toBe(1);
  await reader.cancel();
  clock.advance(1000);
  expect(clock.pending).toBe(0);
});

test('streams end when the listener closes', async () => {
  const { clock, events } = setUp();
  const reader = watch(events);
  await hear(reader);
  events.close();
  expect((await reader.read()).done).toBe(true);
  expect(clock.pending).toBe(0);
});
