import { afterEach, expect, test } from 'vitest';
import { z } from 'zod';
import { makeEvents, MAX_WATCHERS, type Events } from '../../src/admin/events.ts';
import type { BucketSnapshot } from '../../src/ledger/ledger.ts';
import { RecentActivity, type CallFilter } from '../../src/telemetry/recent-activity.ts';
import { callLine } from '../support/log-fixtures.ts';
import { FakeClock } from '../support/fake-clock.ts';

const eventData = z.object({
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
  observed: z.object({ wouldWait: z.number(), wouldShed: z.number() }).optional(),
});
interface ReceivedEvent {
  readonly event: string;
  readonly data: z.output<typeof eventData>;
}

const ALL: CallFilter = () => true;
const open: Events[] = [];
afterEach(() => {
  for (const events of open.splice(0)) events.close();
});

function setUp() {
  const clock = new FakeClock();
  const activity = new RecentActivity(clock);
  const buckets: BucketSnapshot[] = [];
  let isObserving = false;
  const events = makeEvents({
    clock,
    activity,
    ledger: { snapshot: () => buckets },
    ledgerMode: () => 'memory',
    credentialName: () => undefined,
    isDraining: () => false,
    isObserving: () => isObserving,
    canPause: () => false,
    replica: 'one',
    version: '1',
  });
  open.push(events);
  return { clock, activity, buckets, events, observe: () => (isObserving = true) };
}

function watch(events: Events, matches = ALL): ReadableStreamDefaultReader<Uint8Array> {
  const stream = events.watch(matches);
  if (stream === undefined) throw new Error('the limit of watchers is reached');
  return stream.getReader();
}

/** Reads the next event; skips the `retry` line. */
async function nextEvent(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<ReceivedEvent> {
  for (;;) {
    const { value } = await reader.read();
    const text = new TextDecoder().decode(value);
    const [, event = '', data = ''] = /^id: \d+\nevent: (\w+)\ndata: (.*)\n\n$/.exec(text) ?? [];
    if (event !== '') return { event, data: eventData.parse(JSON.parse(data)) };
  }
}

test('a watcher first gets a snapshot, and then the changes once per second', async () => {
  const { clock, activity, events } = setUp();
  activity.record(callLine({ id: 'before' }));
  const reader = watch(events);
  const first = await nextEvent(reader);
  expect(first.event).toBe('snapshot');
  expect(first.data).toMatchObject({ replica: 'one', ledger: 'memory', total: 1 });
  expect(first.data.calls.shown).toEqual([{ id: 'before' }]);
  expect(first.data.points).toEqual([{ calls: 1 }]);

  activity.record(callLine({ id: 'after' }));
  clock.advance(1000);
  const second = await nextEvent(reader);
  expect(second.event).toBe('tick');
  expect(second.data.calls.shown).toEqual([{ id: 'after' }]);
  expect(second.data.total).toBe(2);
});

test('a watcher gets only the calls that match its filter', async () => {
  const { clock, activity, events } = setUp();
  const reader = watch(events, ({ caller }) => caller === 'billing');
  await nextEvent(reader);
  for (let i = 0; i < 500; i++) activity.record(callLine({ id: `r${i}` }));
  activity.record(callLine({ id: 'b', caller: 'billing' }));
  clock.advance(1000);
  const { calls } = (await nextEvent(reader)).data;
  expect(calls).toEqual({ shown: [{ id: 'b' }], sampledOut: 0, missed: 0 });
});

test('a tick has fifty of five thousand calls, and the number of the others', async () => {
  const { clock, activity, events } = setUp();
  const reader = watch(events);
  await nextEvent(reader);
  for (let i = 1; i <= 5000; i++) activity.record(callLine({ id: `c${i}` }));
  clock.advance(1000);
  const { calls } = (await nextEvent(reader)).data;
  expect(calls.shown).toHaveLength(50);
  expect(calls.shown[0]).toEqual({ id: 'c5000' });
  expect(calls.sampledOut + calls.missed + calls.shown.length).toBe(5000);
});

test('an event has the buckets with the most waiting tickets, and the number of the others', async () => {
  const { buckets, events } = setUp();
  for (let i = 0; i < 500; i++) {
    const waiting = i === 499 ? 3 : 0;
    buckets.push({ id: `b${i}`, class: 'read', leases: 0, waiting, waitingHereByCaller: {} });
  }
  const { data } = await nextEvent(watch(events));
  expect(data.buckets).toHaveLength(60);
  expect(data.buckets).toContainEqual({ id: 'b499' });
  expect(data.bucketsHidden).toBe(440);
});

test('in observe mode an event counts the calls that would have waited or been shed', async () => {
  const { clock, activity, events, observe } = setUp();
  const reader = watch(events);
  expect((await nextEvent(reader)).data.observed).toBeUndefined();
  observe();
  activity.record(callLine({ wouldWaitMs: 0 }));
  activity.record(callLine({ wouldWaitMs: 1200 }));
  activity.record(callLine({ wouldShed: 'queue-full' }));
  activity.record(callLine());
  clock.advance(1000);
  expect((await nextEvent(reader)).data.observed).toEqual({ wouldWait: 1, wouldShed: 1 });
});

test('the number of watchers is limited, and a watcher that leaves makes room for another', async () => {
  const { events } = setUp();
  const readers = Array.from({ length: MAX_WATCHERS }, () => watch(events));
  expect(events.watch(ALL)).toBeUndefined();
  await readers[0]?.cancel();
  expect(events.watchers).toBe(MAX_WATCHERS - 1);
  expect(events.watch(ALL)).toBeInstanceOf(ReadableStream);
});

test('a watcher that does not read is disconnected before its backlog grows large', async () => {
  const { clock, activity, events } = setUp();
  const lazy = watch(events);
  const path = `/${'x'.repeat(2000)}`;
  for (let second = 0; second < 60; second++) {
    for (let i = 0; i < 50; i++) activity.record(callLine({ path }));
    clock.advance(1000);
  }
  expect(events.watchers).toBe(0);
  await expect(lazy.read()).rejects.toThrow('the watcher reads too slowly');
});

test('no timer is set without watchers', async () => {
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
  await nextEvent(reader);
  events.close();
  expect((await reader.read()).done).toBe(true);
  expect(clock.pending).toBe(0);
});
