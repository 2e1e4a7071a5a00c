import { expect, test } from 'vitest';
import { NameCounts } from '../../src/util/name-counts.ts';

test('each name has its own count', () => {
  const counts = new NameCounts();
  for (const name of ['a', 'a', 'b']) counts.add(name);
  counts.subtract('a');
  expect([counts.of('a'), counts.of('b'), counts.of('c')]).toEqual([1, 1, 0]);
  counts.subtract('a');
  expect(() => counts.subtract('a')).toThrow('expected a count above 0 for a');
  counts.add('a');
  expect(counts.of('a')).toBe(1);
});

test('names whose count is 0 are kept up to a bound, and no other name is lost', () => {
  const counts = new NameCounts();
  counts.add('stays');
  for (let i = 0; i < 5000; i++) {
    counts.add(`name ${i}`);
    counts.subtract(`name ${i}`);
  }
  expect(counts.size).toBeLessThanOrEqual(1002);
  expect(counts.of('stays')).toBe(1);
});
