import { expect, test } from 'vitest';
import { answered } from '../../src/budget/answers.ts';
import { makeBucket, type Lease } from '../../src/budget/bucket.ts';
import type { Observation } from '../../src/budget/observation.ts';

const NOW = 1_000_000;

function leaseAt(grantedAt: number, rest: Partial<Lease> = {}): Lease {
  return {
    kind: 'regular',
    grantedAt,
    cost: 1,
    observation: 0,
    losses: 0,
    returns: 0,
    trusted: false,
    loss: 0,
    recorded: false,
    ...rest,
  };
}

test('an exact time of the same reset does not pass for another window', () => {
  const bucket = makeBucket(NOW);
  const answer = (lease: Lease, at: number, rest: Partial<Observation>): void => {
    const observation = { status: 200, basis: 'instant', limit: 10, receivedAt: at } as const;
    const rounded = { ...observation, sameWithinMs: 1000, uncertaintyMs: 2000, ...rest };
    answered(bucket, lease, true, rounded, at, () => 0.5);
  };
  answer(leaseAt(NOW, { kind: 'first' }), NOW + 50, { remaining: 9, resetAt: NOW + 60_000 });
  expect(bucket.rounded.openedAt).toBe(NOW + 50);
  answer(leaseAt(NOW + 100, { observation: 1 }), NOW + 150, {
    remaining: 8,
    resetAt: NOW + 60_900,
    sameWithinMs: 0,
  });
  expect(bucket.rounded.openedAt).toBe(NOW + 50);
  answer(leaseAt(NOW + 200, { observation: 2 }), NOW + 250, {
    remaining: 7,
    resetAt: NOW + 62_000,
  });
  expect(bucket.rounded.openedAt).toBeUndefined();
});
