import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  addSlots,
  clearSlots,
  countSlotsBefore,
  keepLastSlots,
  makeSlots,
  moveSlots,
  nthSlotAt,
  slotEntries,
  takeSlotsUntil,
} from '../../src/budget/slots.ts';

describe('the slots', () => {
  /** Calls with times up to `maxMs`. Few adds share a time if that is much. */
  function plans(maxMs: number, addsPerOther: number, size: fc.ArrayConstraints) {
    const at = fc.integer({ min: 0, max: maxMs });
    const kept = fc.integer({ min: 0, max: 5 * addsPerOther });
    const step = fc.oneof(
      { weight: addsPerOther, arbitrary: fc.tuple(fc.constant('add' as const), at) },
      fc.tuple(
        fc.constant('take' as const),
        fc.integer({ min: 0, max: Math.floor(maxMs / addsPerOther) }),
      ),
      fc.tuple(fc.constant('keep' as const), kept),
      fc.tuple(fc.constant('move' as const), at),
    );
    return fc.tuple(fc.array(step, size), at);
  }

  test.each([
    ['few times', plans(50, 4, { maxLength: 150 })],
    ['more times than fit into a chunk', plans(100_000, 80, { minLength: 400, maxLength: 800 })],
  ])('behave as a sorted list of times, with %s', (_which, calls) => {
    fc.assert(
      fc.property(calls, ([plan, probe]) => {
        const slots = makeSlots();
        let list: number[] = [];
        const actual: unknown[] = [];
        const expected: unknown[] = [];
        for (const [kind, value] of plan) {
          if (kind === 'add') {
            addSlots(slots, value, 1, 0);
            list = [...list, value].sort((a, b) => a - b);
          } else if (kind === 'take') {
            actual.push(takeSlotsUntil(slots, value));
            expected.push(list.filter((time) => time <= value).length);
            list = list.filter((time) => time > value);
          } else if (kind === 'keep') {
            keepLastSlots(slots, value);
            list = value === 0 ? [] : list.slice(-value);
          } else {
            moveSlots(slots, value);
            list = list.map((time) => time + value);
          }
          const middle = Math.floor(list.length / 2);
          actual.push(
            slots.size,
            slots.firsts[0],
            nthSlotAt(slots, middle),
            countSlotsBefore(slots, probe),
            slots.size > 0 ? slots.lastAt : undefined,
          );
          const before = list.filter((time) => time < probe).length;
          expected.push(list.length, list[0], list[middle], before, list.at(-1));
        }
        const entries = slotEntries(slots);
        actual.push(entries.flatMap(([time, count]) => Array<number>(count).fill(time)));
        expected.push(list);
        // Slots with the same time share an entry.
        actual.push(entries.length);
        expected.push(new Set(list).size);
        expect(actual).toEqual(expected);
      }),
    );
  });

  test('have bounded entries, lose no slot and return none early, however many are added', () => {
    const slots = makeSlots();
    const lateBy: number[] = [];
    for (let i = 0; i < 20_000; i++) addSlots(slots, i * 3.7, 1, 74_000);
    expect(slots.size).toBe(20_000);
    expect(slotEntries(slots).length).toBeLessThanOrEqual(2048);
    for (let i = 0; i < 20_000; i += 97) {
      const returned = 20_000 - slots.size + takeSlotsUntil(slots, i * 3.7);
      expect(returned).toBeLessThanOrEqual(i + 1);
      lateBy.push(i + 1 - returned);
    }
    // A thousandth of the period late is 72 ms, twenty slots; one that shares its time may be the last.
    expect(Math.max(...lateBy)).toBeLessThanOrEqual(40);
  });

  test('end a call although damaged data contradicts itself, which must not stop Redis', () => {
    const slots = makeSlots();
    for (let i = 0; i < 3; i++) addSlots(slots, i, 1, 0);
    slots.size = 99;
    slots.totals[0] = 99;
    keepLastSlots(slots, 50);
    expect(slotEntries(slots)).toEqual([]);
  });

  test('are empty after clear', () => {
    const slots = makeSlots();
    addSlots(slots, 1, 1, 10);
    clearSlots(slots);
    expect([slots.size, slots.firsts[0], nthSlotAt(slots, 0), slotEntries(slots)]).toEqual([
      0,
      undefined,
      undefined,
      [],
    ]);
  });
});
