import { expect, test } from 'vitest';
import {
  ChunkBuffer,
  RequestMemory,
  type MemoryReservation,
} from '../../src/upstream/request-memory.ts';

/** A memory of 100 bytes, and a function that reserves some of it under a name. */
function setUp(): {
  memory: RequestMemory;
  evicted: string[];
  hold: (
    name: string,
    bytes: number,
    options?: { owner?: string; isPinned?: boolean },
  ) => MemoryReservation;
} {
  const memory = new RequestMemory(100);
  const evicted: string[] = [];
  return {
    memory,
    evicted,
    hold(name, bytes, { owner = name[0] ?? '', isPinned = false } = {}) {
      const flow = name.slice(0, 2);
      const reservation = memory.reserve(owner, flow, { evict: () => evicted.push(name) });
      reservation.pin(isPinned);
      reservation.grow(bytes);
      return reservation;
    },
  };
}

test('the last call of the flow with the most bytes is evicted, although another flow has more calls', () => {
  const { memory, evicted, hold } = setUp();
  hold('a1-first', 40);
  hold('a1-last', 30);
  for (let i = 0; i < 5; i++) hold(`b1-${i}`, 5);
  expect(evicted).toEqual([]);
  hold('c1', 10);
  expect(evicted).toEqual(['a1-last']);
  expect(memory.bytes).toBe(75);
});

test('an owner gains nothing by using many names', () => {
  const { evicted, hold } = setUp();
  for (let i = 0; i < 6; i++) hold(`a${i}`, 10, { owner: 'inventive' });
  hold('b1', 39);
  hold('c1', 10);
  expect(evicted).toEqual(['a0']);
});

test('a body that is being sent is not evicted, and the next one is evicted instead', () => {
  const { evicted, hold } = setUp();
  hold('a1-sent', 60, { isPinned: true });
  hold('b1', 30);
  hold('c1', 20);
  expect(evicted).toEqual(['b1']);
});

test('a body that is being sent is not evicted in place of an earlier one of its flow', () => {
  const { memory, evicted, hold } = setUp();
  hold('a1-waits', 40);
  const sent = hold('a1-sent', 30, { isPinned: true });
  hold('b1', 35);
  expect(evicted).toEqual(['a1-waits']);
  sent.release();
  hold('b2', 65);
  expect(evicted).toEqual(['a1-waits']);
  expect(memory.bytes).toBe(100);
});

test('a request whose attempt has ended can be evicted again, and is not the last of its flow', () => {
  const { evicted, hold } = setUp();
  const retried = hold('a1-retried', 40, { isPinned: true });
  hold('a1-new', 30);
  retried.pin(false);
  hold('b1', 35);
  expect(evicted).toEqual(['a1-new']);
  hold('b1', 30);
  expect(evicted).toEqual(['a1-new', 'b1']);
});

test('requests of many owners and flows that have ended leave nothing behind', () => {
  const { memory, evicted, hold } = setUp();
  const stays = hold('z1', 50);
  for (let i = 0; i < 5000; i++) hold(`${i % 90}-${i}`, 10, { owner: `owner ${i}` }).release();
  expect(memory.bytes).toBe(50);
  expect(memory.flows).toBeLessThanOrEqual(1001);
  hold('z1-last', 51, { owner: 'z' });
  expect(evicted).toEqual(['z1-last']);
  stays.release();
  expect(memory.bytes).toBe(0);
});

test('bytes are released once, at the end of a call, which can reserve no more after that', () => {
  const { memory, evicted, hold } = setUp();
  const reservation = hold('a1', 90);
  reservation.release();
  reservation.release();
  reservation.grow(1000);
  expect(memory.bytes).toBe(0);
  hold('b1', 100);
  expect(evicted).toEqual([]);
});

test('as many calls are evicted as necessary', () => {
  const { memory, evicted, hold } = setUp();
  for (let i = 0; i < 5; i++) hold(`a1-${i}`, 20);
  hold('b1', 50);
  expect(evicted).toEqual(['a1-4', 'a1-3', 'a1-2']);
  expect(memory.bytes).toBe(90);
});

test('chunks of any size keep their order', () => {
  const chunks = new ChunkBuffer();
  const sizes = [10, 1, 4095, 4096, 20_000, 1, 1, 16_384, 3000, 3000, 3000, 3000, 3000, 3000, 5];
  const expected = Buffer.concat(
    sizes.map((size, i) => {
      const chunk = Buffer.alloc(size, i + 1);
      chunks.add(chunk);
      return chunk;
    }),
  );
  expect(Buffer.concat(chunks.all()).equals(expected)).toBe(true);
});

test('a body that arrives byte by byte is kept in few buffers', () => {
  const chunks = new ChunkBuffer();
  for (let i = 0; i < 100_000; i++) chunks.add(Buffer.from([i % 256]));
  const all = chunks.all();
  expect(all.length).toBeLessThan(10);
  expect(Buffer.concat(all)).toHaveLength(100_000);
});

test('a body of one chunk is not copied', () => {
  const chunks = new ChunkBuffer();
  const chunk = Buffer.from('small');
  chunks.add(chunk);
  expect(chunks.all()).toEqual([chunk]);
  expect(chunks.all()[0]).toBe(chunk);
});
