import { expect, test } from 'vitest';
import { Busiest } from '../../src/telemetry/bounded-labels.ts';

test('the first names get labels, the next is other', () => {
  const busiest = new Busiest(2, () => undefined);
  expect(['a', 'b', 'c', 'a'].map((name) => busiest.label(name))).toEqual(['a', 'b', 'other', 'a']);
});

test('a name that calls far more takes the place of the least busy one', () => {
  const dropped: string[] = [];
  const busiest = new Busiest(2, (name) => dropped.push(name));
  for (let i = 0; i < 100; i++) busiest.label('steady');
  for (let i = 0; i < 8; i++) busiest.label('rare');
  const labels = Array.from({ length: 40 }, () => busiest.label('new'));
  expect(labels[0]).toBe('other');
  expect(labels.at(-1)).toBe('new');
  expect(dropped).toEqual(['rare']);
  expect(busiest.label('rare')).toBe('other');
  expect(busiest.label('steady')).toBe('steady');
});

test('a name that calls as much as those with labels displaces nobody', () => {
  const busiest = new Busiest(1, () => undefined);
  for (let i = 0; i < 1000; i++) {
    busiest.label('first');
    expect(busiest.label('second')).toBe('other');
  }
});

test('a hundred thousand invented names take no label from who calls', () => {
  const busiest = new Busiest(2, () => undefined);
  busiest.label('a');
  busiest.label('b');
  for (let i = 0; i < 100_000; i++) {
    expect(busiest.label(`invented-${i}`)).toBe('other');
    busiest.label('a');
    busiest.label('b');
  }
  expect(busiest.label('a')).toBe('a');
});
