import { expect, test } from 'vitest';
import { readUrgency } from '../../src/http/priority.ts';

test.each([
  ['u=0', 'high'],
  ['u=2, i', 'high'],
  ['i, u=3', 'normal'],
  ['u=4', 'low'],
  ['u=7;x=1', 'low'],
  ['u=1, u=5', 'low'],
  ['i', undefined],
  ['u=8', undefined],
  ['u=12', undefined],
  ['u=-1', undefined],
  ['au=1', undefined],
  ['', undefined],
  [undefined, undefined],
] as const)('Priority: %s requests %s', (field, priority) => {
  expect(readUrgency(field)).toBe(priority);
});
