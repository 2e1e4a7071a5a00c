import { setImmediate as nextIteration } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { makeEndOfTurn } from '../../src/util/end-of-turn.ts';

test('a write is made at once while no other call is in flight', () => {
  const atEndOfTurn = makeEndOfTurn({ busy: () => false });
  const written: string[] = [];
  atEndOfTurn(() => written.push('a'));
  expect(written).toEqual(['a']);
});

test('writes are batched in order while other calls are in flight', async () => {
  let busy = true;
  const atEndOfTurn = makeEndOfTurn({ busy: () => busy });
  const written: string[] = [];
  atEndOfTurn(() => written.push('a'));
  atEndOfTurn(() => written.push('b'));
  busy = false;
  atEndOfTurn(() => written.push('c'));
  expect(written).toEqual([]);
  await nextIteration();
  expect(written).toEqual(['a', 'b', 'c']);
  atEndOfTurn(() => written.push('d'));
  expect(written).toEqual(['a', 'b', 'c', 'd']);
});
