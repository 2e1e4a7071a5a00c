import { expect, test } from 'vitest';
import { Pieces } from '../../src/upstream/pieces.ts';

test('pieces of any size come out in their order', () => {
  const pieces = new Pieces();
  const sizes = [10, 1, 4095, 4096, 20_000, 1, 1, 16_384, 3000, 3000, 3000, 3000, 3000, 3000, 5];
  const expected = Buffer.concat(
    sizes.map((size, i) => {
      const piece = Buffer.alloc(size, i + 1);
      pieces.add(piece);
      return piece;
    }),
  );
  expect(Buffer.concat(pieces.all()).equals(expected)).toBe(true);
});

test('a body that comes byte by byte is kept in few buffers', () => {
  const pieces = new Pieces();
  for (let i = 0; i < 100_000; i++) pieces.add(Buffer.from([i % 256]));
  const all = pieces.all();
  expect(all.length).toBeLessThan(10);
  expect(Buffer.concat(all)).toHaveLength(100_000);
});

test('what comes in one piece is not copied', () => {
  const pieces = new Pieces();
  const piece = Buffer.from('small');
  pieces.add(piece);
  expect(pieces.all()).toEqual([piece]);
  expect(pieces.all()[0]).toBe(piece);
});
