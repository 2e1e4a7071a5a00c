import { describe, expect, test } from 'vitest';
import { makeOutput, type Output, type Sink } from '../../src/telemetry/log-output.ts';
import { FakeClock } from '../support/fake-clock.ts';

const MINUTE_MS = 60_000;

/** A reader that takes as many bytes as a test lets it. */
class Reader implements Sink {
  /** Bytes that it still takes; `gone` when it went away. */
  room: number | 'gone' = Number.POSITIVE_INFINITY;
  paused = 0;
  /** Called at every pause of the writer. */
  onPause: () => void = () => undefined;
  readonly #taken: Buffer[] = [];

  get text(): string {
    return Buffer.concat(this.#taken).toString();
  }

  write(bytes: Uint8Array): number | 'full' | 'gone' {
    if (this.room === 'gone') return 'gone';
    if (this.room === 0) return 'full';
    const took = Math.min(this.room, bytes.length);
    this.#taken.push(Buffer.from(bytes.subarray(0, took)));
    this.room -= took;
    return took;
  }

  pause(): void {
    this.paused++;
    this.onPause();
  }
}

interface Parts {
  readonly clock: FakeClock;
  readonly reader: Reader;
  readonly output: Output;
  /** What was said of lost lines. */
  readonly said: number[];
}

function setUp(mostWaiting = 1000): Parts {
  const clock = new FakeClock();
  const reader = new Reader();
  const output = makeOutput({ sink: reader, clock, mostWaiting });
  const said: number[] = [];
  output.onLost((lines) => {
    said.push(lines);
    output.write(`lost ${lines}\n`);
  });
  return { clock, reader, output, said };
}

/** `count` lines of ten characters each. */
function writeLines(output: Output, count: number, mark = 'x'): void {
  for (let i = 0; i < count; i++) output.write(`${mark}${String(i).padStart(8, '0')}\n`);
}

describe('the log’s output', () => {
  test('gathers lines for a moment, and then sets no timer any more', () => {
    const { clock, reader, output } = setUp();
    writeLines(output, 3);
    expect(reader.text).toBe('');
    clock.advance(100);
    expect(reader.text.split('\n')).toHaveLength(4);
    expect(clock.pending).toBe(0);
  });

  test('writes at once what is much', () => {
    const { reader, output } = setUp(1_000_000);
    writeLines(output, 10_000);
    expect(reader.text.length).toBeGreaterThan(32_000);
  });

  test('goes on in the middle of a character where the reader stopped', () => {
    const { clock, reader, output } = setUp();
    reader.room = 4;
    output.write('aäöü€\n');
    output.write('second\n');
    clock.advance(100);
    reader.room = Number.POSITIVE_INFINITY;
    clock.advance(100);
    expect(reader.text).toBe('aäöü€\nsecond\n');
  });

  test('keeps the oldest lines of those that a stalled reader leaves waiting, whole ones', () => {
    const { clock, reader, output, said } = setUp(1000);
    reader.room = 0;
    writeLines(output, 250);
    expect(output.linesLost).toBe(150);
    clock.advance(10_000);
    expect(said).toEqual([]);
    reader.room = Number.POSITIVE_INFINITY;
    clock.advance(200);
    expect(said).toEqual([150]);
    const lines = reader.text.trimEnd().split('\n');
    expect(lines).toHaveLength(101);
    expect(lines.slice(-2)).toEqual(['x00000099', 'lost 150']);
  });

  test('tells of lost lines at most once a minute, all of them together', () => {
    const { clock, reader, output, said } = setUp(1000);
    for (let stall = 0; stall < 4; stall++) {
      reader.room = 0;
      clock.advance(100);
      writeLines(output, 105);
      clock.advance(100);
      reader.room = Number.POSITIVE_INFINITY;
      clock.advance(100);
    }
    expect(said).toEqual([5]);
    clock.advance(MINUTE_MS);
    expect(said).toEqual([5, 15]);
    clock.advance(10 * MINUTE_MS);
    expect(said).toEqual([5, 15]);
    expect(output.linesLost).toBe(20);
    expect(clock.pending).toBe(0);
  });

  test('tries a full pipe again and again, without hurry', () => {
    const { clock, reader, output } = setUp();
    reader.room = 0;
    writeLines(output, 1);
    clock.advance(MINUTE_MS);
    expect(clock.pending).toBe(1);
    reader.room = Number.POSITIVE_INFINITY;
    clock.advance(50);
    expect(reader.text).toBe('x00000000\n');
    expect(clock.pending).toBe(0);
  });

  test('counts everything as lost once the reader is gone, and costs nothing more', () => {
    const { clock, reader, output, said } = setUp();
    writeLines(output, 3);
    reader.room = 'gone';
    clock.advance(100);
    writeLines(output, 2);
    output.flushSync();
    output.close();
    expect(output.linesLost).toBe(5);
    expect(said).toEqual([]);
    expect(clock.pending).toBe(0);
  });
});

describe('the last flush', () => {
  test('writes all that waits to a reader that is slow', () => {
    const { clock, reader, output } = setUp();
    reader.room = 0;
    writeLines(output, 50);
    reader.onPause = () => (reader.room = 100);
    output.close();
    expect(reader.text.split('\n')).toHaveLength(51);
    expect(clock.pending).toBe(0);
  });

  test('tells of lost lines too, whenever it was told last', () => {
    const { clock, reader, output, said } = setUp(1000);
    for (let stall = 0; stall < 2; stall++) {
      reader.room = 0;
      clock.advance(100);
      writeLines(output, 105);
      clock.advance(100);
      reader.room = Number.POSITIVE_INFINITY;
      clock.advance(100);
    }
    output.flushSync();
    expect(said).toEqual([5, 5]);
    expect(reader.text.endsWith('lost 5\n')).toBe(true);
  });

  test('gives up on a reader that takes nothing, after a second', () => {
    const { reader, output } = setUp();
    reader.room = 0;
    writeLines(output, 1);
    output.flushSync();
    expect(reader.paused).toBe(100);
    output.close();
    output.flushSync();
    expect(reader.paused).toBe(200);
  });
});
