import { expect, test } from 'vitest';
import { BoundedLabels } from '../../src/telemetry/bounded-labels.ts';

test('the first names get labels, the next name is other', () => {
  const labels = new BoundedLabels(2, () => undefined);
  expect(['a', 'b', 'c', 'a'].map((name) => labels.label(name))).toEqual(['a', 'b', 'other', 'a']);
});

test('a name with far more calls replaces the least busy one', () => {
  const dropped: string[] = [];
  const labels = new BoundedLabels(2, (name) => dropped.push(name));
  for (let i = 0; i < 100; i++) labels.label('steady');
  for (let i = 0; i < 8; i++) labels.label('rare');
  const given = Array.from({ length: 40 }, () => labels.label('new'));
  expect(given[0]).toBe('other');
  expect(given.at(-1)).toBe('new');
  expect(dropped).toEqual(['rare']);
  expect(labels.label('rare')).toBe('other');
  expect(labels.label('steady')).toBe('steady');
});

test('a name with as many calls as one with a label does not replace it', () => {
  const labels = new BoundedLabels(1, () => undefined);
  for (let i = 0; i < 1000; i++) {
    labels.label('first');
    expect(labels.label('second')).toBe('other');
  }
});

test('a hundred thousand invented names do not take the labels of busy names', () => {
  const labels = new BoundedLabels(2, () => undefined);
  labels.label('a');
  labels.label('b');
  const given = new Set<string>();
  for (let i = 0; i < 100_000; i++) {
    given.add(labels.label(`invented-${i}`));
    labels.label('a');
    labels.label('b');
  }
  expect([...given]).toEqual(['other']);
  expect(labels.label('a')).toBe('a');
});
