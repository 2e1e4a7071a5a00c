import { describe, expect, test } from 'vitest';
import { useOf } from '../../src/queue/flow.ts';
import { MemoryOwners } from '../../src/queue/memory-owners.ts';
import { hasModestOwner, isModest, mayModestWait } from '../../src/queue/recent-owners.ts';

const PERIOD = 1000;

/** Owners that used as much as stated, at time 0. */
function ownersOf(used: Readonly<Record<string, number>>): MemoryOwners {
  const owners = new MemoryOwners();
  for (const name of Object.keys(used)) owners.see(name, 0, PERIOD, 0);
  for (const [name, use] of Object.entries(used)) owners.see(name, use, PERIOD, 0);
  return owners;
}

/** Whether an owner is modest, without the ticket of its `own` use that is judged. */
function isModestIn(owners: MemoryOwners, name: string, own = 0, now = 0): boolean {
  return isModest(owners.survey(PERIOD, now), owners.demandOf(name, PERIOD, now) - own);
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
    expect(isModestIn(owners, 'person')).toBe(true);
    expect(isModestIn(owners, 'job')).toBe(false);
    owners.see('person', 9, PERIOD, 0);
    expect(isModestIn(owners, 'person')).toBe(false);
  });

  test('with what it waits for, but without the ticket that is judged', () => {
    const owners = ownersOf({ job: 30, person: 0 });
    owners.countWaiting('person', 8);
    expect(isModestIn(owners, 'person', 1)).toBe(true);
    expect(isModestIn(owners, 'person')).toBe(false);
    owners.countWaiting('person', -8);
    expect(isModestIn(owners, 'person')).toBe(true);
  });

  test('that nothing is known of', () => {
    expect(isModestIn(ownersOf({ job: 30, other: 30 }), 'new')).toBe(true);
  });

  test('again when its use has faded', () => {
    const owners = ownersOf({ job: 30, person: 12 });
    expect(isModestIn(owners, 'person')).toBe(false);
    owners.see('job', 30, PERIOD, PERIOD);
    expect(isModestIn(owners, 'person', 0, PERIOD)).toBe(true);
  });
});

describe('a part of the budget is kept', () => {
  const has = (owners: MemoryOwners, now = 0): boolean =>
    hasModestOwner(owners.survey(PERIOD, now));

  test('while a modest owner is known beside another one', () => {
    expect(has(ownersOf({ job: 30, person: 1 }))).toBe(true);
    expect(has(ownersOf({ job: 30 }))).toBe(false);
    expect(has(ownersOf({ a: 30, b: 30, c: 25 }))).toBe(false);
  });

  test('for five periods after its last request', () => {
    const owners = ownersOf({ person: 1, job: 0 });
    owners.see('job', 30, PERIOD, 5 * PERIOD);
    expect(has(owners, 5 * PERIOD)).toBe(true);
    expect(has(owners, 5 * PERIOD + 1)).toBe(false);
  });

  test('for tickets of modest owners first, if any waits', () => {
    const owners = ownersOf({ job: 30, person: 1 });
    owners.countWaiting('job', 100);
    expect(mayModestWait(owners.survey(PERIOD, 0))).toBe(false);
    owners.countWaiting('person', 0.1);
    expect(mayModestWait(owners.survey(PERIOD, 0))).toBe(true);
  });
});

describe('the owners that a bucket remembers', () => {
  test('are at most 32: those that it saw last', () => {
    const owners = new MemoryOwners();
    for (let i = 0; i < 100; i++) owners.see(`o${i}`, 1, PERIOD, i);
    expect(owners.size).toBe(32);
    const remembered = Array.from({ length: 100 }, (_, i) => owners.demandOf(`o${i}`, PERIOD, 99));
    expect(remembered.map((demand) => demand > 0)).toEqual(remembered.map((_, i) => i >= 68));
    // A ticket of an owner that is forgotten may leave the queue.
    owners.countWaiting('o0', -1);
    expect(owners.demandOf('o0', PERIOD, 99)).toBe(0);
  });

  test('fade only where a period is known', () => {
    const owners = ownersOf({ other: 0 });
    owners.see('o', 1, undefined, 0);
    owners.see('o', 1, undefined, 1e9);
    expect(owners.demandOf('o', PERIOD, 1e9)).toBe(2);
  });

  test('have used nothing while there is only one', () => {
    const owners = ownersOf({ o: 5 });
    expect(owners.demandOf('o', PERIOD, 0)).toBe(0);
  });
});
