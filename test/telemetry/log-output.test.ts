import { describe, expect, test } from 'vitest';
import { makeLogOutput, type LogOutput, type Sink } from '../../src/telemetry/log-output.ts';
import { FakeClock } from '../support/fake-clock.ts';

const MINUTE_MS = 60_000;

/** A reader that accepts as many bytes as a test allows. */
class Reader implements Sink {
  /** How many bytes it still accepts; `gone` once it has closed. */
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
  readonly output: LogOutput;
  /** The reported numbers of lost lines. */
  readonly reported: number[];
}

function setUp(maxWaiting = 1000): Parts {
  const clock = new FakeClock();
  const reader = new Reader();
  const output = makeLogOutput({ sink: reader, clock, maxWaiting });
  const reported: number[] = [];
  output.onLost((lines) => {
    reported.push(lines);
    output.write(`lost ${lines}\n`);
  });
  return { clock, reader, output, reported };
}

/** `count` lines of ten characters each. */
function writeLines(output: LogOutput, count: number, mark = 'x'): void {
  for (let i = 0; i < count; i++) output.write(`${mark}${String(i).padStart(8, '0')}\n`);
}

describe('the log’s output', () => {
  test('batches lines for a moment, and then sets no timer', () => {
    const { clock, reader, output } = setUp();
    writeLines(output, 3);
    expect(reader.text).toBe('');
    clock.advance(100);
    expect(reader.text.split('\n')).toHaveLength(4);
    expect(clock.pending).toBe(0);
  });

  test('writes a large batch at once', () => {
    const { reader, output } = setUp(1_000_000);
    writeLines(output, 10_000);
    expect(reader.text.length).toBeGreaterThan(32_000);
  });

  test('continues in the middle of a character after a partial write', () => {
    const { clock, reader, output } = setUp();
    reader.room = 4;
    output.write('aäöü€\n');
    output.write('second\n');
    clock.advance(100);
    reader.room = Number.POSITIVE_INFINITY;
    clock.advance(100);
    expect(reader.text).toBe('aäöü€\nsecond\n');
  });

  test('keeps the oldest lines, whole ones, while the reader stalls', () => {
    const { clock, reader, output, reported } = setUp(1000);
    reader.room = 0;
    writeLines(output, 250);
    expect(output.linesLost).toBe(150);
    clock.advance(10_000);
    expect(reported).toEqual([]);
    reader.room = Number.POSITIVE_INFINITY;
    clock.advance(200);
    expect(reported).toEqual([150]);
    const lines = reader.text.trimEnd().split('\n');
    expect(lines).toHaveLength(101);
    expect(lines.slice(-2)).toEqual(['x00000099', 'lost 150']);
  });

  test('reports lost lines at most once per minute, as one number', () => {
    const { clock, reader, output, reported } = setUp(1000);
    for (let stall = 0; stall < 4; stall++) {
      reader.room = 0;
      clock.advance(100);
      writeLines(output, 105);
      clock.advance(100);
      reader.room = Number.POSITIVE_INFINITY;
      clock.advance(100);
    }
    expect(reported).toEqual([5]);
    clock.advance(MINUTE_MS);
    expect(reported).toEqual([5, 15]);
    clock.advance(10 * MINUTE_MS);
    expect(reported).toEqual([5, 15]);
    expect(output.linesLost).toBe(20);
    expect(clock.pending).toBe(0);
  });

  test('retries a full pipe again and again, with a backoff', () => {
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

  test('counts every line as lost once the reader has closed, and sets no timer', () => {
    const { clock, reader, output, reported } = setUp();
    writeLines(output, 3);
    reader.room = 'gone';
    clock.advance(100);
    writeLines(output, 2);
    output.flushSync();
    output.close();
    expect(output.linesLost).toBe(5);
    expect(reported).toEqual([]);
    expect(clock.pending).toBe(0);
  });
});

describe('the last flush', () => {
  test('writes all waiting lines to a slow reader', () => {
    const { clock, reader, output } = setUp();
    reader.room = 0;
    writeLines(output, 50);
    reader.onPause = () => (reader.room = 100);
    output.close();
    expect(reader.text.split('\n')).toHaveLength(51);
    expect(clock.pending).toBe(0);
  });

  test('reports lost lines too, whenever the last report was', () => {
    const { clock, reader, output, reported } = setUp(1000);
    for (let stall = 0; stall < 2; stall++) {
      reader.room = 0;
      clock.advance(100);
      writeLines(output, 105);
      clock.advance(100);
      reader.room = Number.POSITIVE_INFINITY;
      clock.advance(100);
    }
    output.flushSync();
    expect(reported).toEqual([5, 5]);
    expect(reader.text.endsWith('lost 5\n')).toBe(true);
  });

  test('gives up after a second on a reader that accepts nothing', () => {
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
