import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LineSplitter } from '../../src/logs/line-splitter.ts';

function split(chunks: readonly Buffer[]): { lines: string[]; tooLong: number } {
  const splitter = new LineSplitter();
  const batches = [...chunks.map((chunk) => splitter.push(chunk)), splitter.end()];
  return {
    lines: batches.flatMap(({ lines }) => lines),
    tooLong: batches.reduce((sum, batch) => sum + batch.tooLong, 0),
  };
}

describe('the line splitter', () => {
  test('returns the same lines wherever chunks end, also inside a character', () => {
    const line = fc
      .string({ unit: 'grapheme', minLength: 1 })
      .filter((text) => !/[\r\n]/.test(text));
    fc.assert(
      fc.property(fc.array(line), fc.array(fc.nat(40)), fc.boolean(), (lines, sizes, ended) => {
        const bytes = Buffer.from(lines.join('\n') + (ended ? '\n' : ''));
        const chunks: Buffer[] = [];
        let at = 0;
        for (const size of sizes) {
          chunks.push(bytes.subarray(at, at + size));
          at += size;
        }
        chunks.push(bytes.subarray(at));
        expect(split(chunks)).toEqual({ lines, tooLong: 0 });
      }),
    );
  });

  test('accepts \\r\\n as a line end, and omits empty lines', () => {
    expect(split([Buffer.from('a\r\n\r\n\nb')]).lines).toEqual(['a', 'b']);
  });

  test('drops a line that is too long, and continues after it', () => {
    const piece = Buffer.alloc(300_000, 'x');
    const chunks = [Buffer.from('a\n'), piece, piece, piece, piece, piece, Buffer.from('y\nb\nc')];
    expect(split(chunks)).toEqual({ lines: ['a', 'b', 'c'], tooLong: 1 });
    const whole = Buffer.concat([...chunks.slice(0, -1), Buffer.from('\nb')]);
    expect(split([whole])).toEqual({ lines: ['a', 'b'], tooLong: 1 });
  });
});
