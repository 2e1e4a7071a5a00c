import { expect, test } from 'vitest';
import { makeBucket } from '../../src/budget/bucket.ts';
import { eta } from '../../src/budget/forecast.ts';
import { addSlots } from '../../src/budget/slots.ts';

const NOW = 1_000_000;

test('the reset returns also what would return after it, and the safety margin delays both', () => {
  const bucket = makeBucket(NOW);
  bucket.phase = 'metered';
  bucket.limit = 10;
  bucket.marginMs = 100;
  bucket.resetAt = NOW + 1000;
  addSlots(bucket.slots, NOW + 900, 1, 1000);
  addSlots(bucket.slots, NOW + 1000, 4, 1000);
  addSlots(bucket.slots, NOW + 1050, 5, 1000);
  const inMs = (rank: number): number => (eta(bucket, rank, NOW) ?? Number.NaN) - NOW;
  expect([1, 2, 5, 6, 10].map(inMs)).toEqual([1000, 1100, 1100, 1100, 1100]);
});
