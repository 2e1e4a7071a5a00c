import { describe, expect, test } from 'vitest';
import { useOf } from '../../src/queue/flow.ts';
import {
  countWaiting,
  hasModestOwner,
  isModest,
  makeRecentOwners,
  mayModestWait,
  seeOwner,
  type RecentOwners,
} from '../../src/queue/recent-owners.ts';

const PERIOD = 1000;

/** Owners that used as much as stated, at time 0. */
function ownersOf(used: Readonly<Record<string, number>>): RecentOwners {
  const owners = makeRecentOwners();
  for (const [name, use] of Object.entries(used)) seeOwner(owners, name, use, PERIOD, 0);
  return owners;
}

describe('the use of a request', () => {
  const item = { owner: 'o', caller: 'c', weight: 1, arrivedAt: 0 } as const;

  test('is its cost divided by its weight, so that waiting owners have the same use', () => {
    expect(useOf({ ...item, priority: 'low' })).toBe(1);
    expect(useOf({ ...item, priority: 'normal' })).toBe(0.1);
    expect(useOf({ ...item, priority: 'normal', weight: 2, cost: 4 })).toBe(0.2);
  });
});

describe('an owner is modest', () => {
  test('while it uses at most half of what the known owners use on average', () => {
    const owners = ownersOf({ job: 30, person: 2 });
    expect(isModest(owners, 'person', 0, PERIOD, 0)).toBe(true);
    expect(isModest(owners, 'job', 0, PERIOD, 0)).toBe(false);
    seeOwner(owners, 'person', 9, PERIOD, 0);
    expect(isModest(owners, 'person', 0, PERIOD, 0)).toBe(false);
  });

  test('with what it waits for, but without the ticket that is judged', () => {
    const owners = ownersOf({ job: 30, person: 0 });
    countWaiting(owners, 'person', 8);
    expect(isModest(owners, 'person', 1, PERIOD, 0)).toBe(true);
    expect(isModest(owners, 'person', 0, PERIOD, 0)).toBe(false);
    countWaiting(owners, 'person', -8);
    expect(isModest(owners, 'person', 0, PERIOD, 0)).toBe(true);
  });

  test('that nothing is known of', () => {
    expect(isModest(ownersOf({ job: 30, other: 30 }), 'new', 0, PERIOD, 0)).toBe(true);
  });

  test('again when its use has faded', () => {
    const owners = ownersOf({ job: 30, person: 12 });
    expect(isModest(owners, 'person', 0, PERIOD, 0)).toBe(false);
    seeOwner(owners, 'job', 30, PERIOD, PERIOD);
    expect(isModest(owners, 'person', 0, PERIOD, PERIOD)).toBe(true);
  });
});

describe('a part of the budget is kept', () => {
  test('while a modest owner is known beside another one', () => {
    expect(hasModestOwner(ownersOf({ job: 30, person: 1 }), PERIOD, 0)).toBe(true);
    expect(hasModestOwner(ownersOf({ job: 30 }), PERIOD, 0)).toBe(false);
    expect(hasModestOwner(ownersOf({ a: 30, b: 30, c: 25 }), PERIOD, 0)).toBe(false);
  });

  test('for five periods after its last request', () => {
    const owners = ownersOf({ person: 1 });
    seeOwner(owners, 'job', 30, PERIOD, 5 * PERIOD);
    expect(hasModestOwner(owners, PERIOD, 5 * PERIOD)).toBe(true);
    expect(hasModestOwner(owners, PERIOD, 5 * PERIOD + 1)).toBe(false);
  });

  test('for tickets of modest owners first, if any waits', () => {
    const owners = ownersOf({ job: 30, person: 1 });
    countWaiting(owners, 'job', 100);
    expect(mayModestWait(owners, PERIOD, 0)).toBe(false);
    countWaiting(owners, 'person', 0.1);
    expect(mayModestWait(owners, PERIOD, 0)).toBe(true);
  });
});

describe('the owners that a bucket remembers', () => {
  test('are at most 32: those that it saw last', () => {
    const owners = makeRecentOwners();
    for (let i = 0; i < 100; i++) seeOwner(owners, `o${i}`, 1, PERIOD, i);
    expect(owners.names).toHaveLength(32);
    expect([...owners.names].sort()).toEqual(
      Array.from({ length: 32 }, (_, i) => `o${i + 68}`).sort(),
    );
    // A ticket of an owner that is forgotten may leave the queue.
    countWaiting(owners, 'o0', -1);
    expect(owners.waiting.every((use) => use === 0)).toBe(true);
  });

  test('fade only where a period is known', () => {
    const owners = makeRecentOwners();
    seeOwner(owners, 'o', 1, undefined, 0);
    seeOwner(owners, 'o', 1, undefined, 1e9);
    expect(owners.used).toEqual([2]);
  });
});
