import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { makeEndOfTurn } from '../../src/util/end-of-turn.ts';

test('a lone call is written at once', () => {
  const atEndOfTurn = makeEndOfTurn({ busy: () => false });
  const written: string[] = [];
  atEndOfTurn(() => written.push('a'));
  expect(written).toEqual(['a']);
});

test('while others are on their way, writes are made together and in order', async () => {
  let busy = true;
  const atEndOfTurn = makeEndOfTurn({ busy: () => busy });
  const written: string[] = [];
  atEndOfTurn(() => written.push('a'));
  atEndOfTurn(() => written.push('b'));
  busy = false;
  atEndOfTurn(() => written.push('c'));
  expect(written).toEqual([]);
  await nextTurn();
  expect(written).toEqual(['a', 'b', 'c']);
  atEndOfTurn(() => written.push('d'));
  expect(written).toEqual(['a', 'b', 'c', 'd']);
});
