import { describe, expect, test } from 'vitest';
import { columns, formatLine } from '../../src/logs/line-view.ts';
import { makeProgress } from '../../src/logs/progress.ts';
import {
  coloured,
  plain,
  printable,
  printableJson,
  readableDuration,
} from '../../src/logs/terminal-text.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { loggedCall, loggedThrottle } from '../support/log-fixtures.ts';

describe('a line for people', () => {
  test('shows time, status, durations, budget, caller, request and id', () => {
    const shown = formatLine(loggedCall({ waitMs: 1234, query: 'page=2' }), plain);
    expect(shown).toBe(
      '2026-11-24 06:26:00.000Z  200        1.2 s     80 ms      17/80  billing           ' +
        'GET    /domains/17?page=2  id-1',
    );
  });

  test('shows an outcome other than answered, and the number of attempts', () => {
    const shed = loggedCall({ status: 503, outcome: 'shed', code: 'wait-too-long' });
    expect(formatLine(shed, plain)).toContain('  shed: wait-too-long  id-1');
    const gone = loggedCall({ status: 0, outcome: 'aborted', attempts: 3 });
    expect(formatLine(gone, plain)).toContain('  aborted, 3 attempts  id-1');
    expect(formatLine(loggedThrottle(), plain)).toContain(
      'the API throttled attempt 1 (bucket, Retry-After 5.0 s)',
    );
  });

  test('has a column for the API where lines name one', () => {
    const shown = formatLine(loggedCall({ api: 'github' }), plain, true);
    expect(shown.indexOf('github')).toBe(columns(true).indexOf('API'));
    expect(shown.indexOf('billing')).toBe(columns(true).indexOf('caller'));
    const without = formatLine(loggedCall(), plain, true);
    expect(without.indexOf('billing')).toBe(columns(true).indexOf('caller'));
  });

  test('shows a cost other than one, and what observe mode says of the call', () => {
    expect(formatLine(loggedCall({ cost: 7 }), plain)).toContain('  cost 7  id-1');
    const waits = loggedCall({ wouldWaitMs: 61_000 });
    expect(formatLine(waits, plain)).toContain('  would wait 1m 01s  id-1');
    const shed = loggedCall({ status: 429, wouldShed: 'queue-full' });
    expect(formatLine(shed, plain)).toContain('  would be shed: queue-full  id-1');
  });

  test('is coloured by its outcome and status', () => {
    expect(formatLine(loggedCall(), coloured)).toContain('\u001B[32m200');
    expect(formatLine(loggedCall({ status: 502, outcome: 'failed' }), coloured)).toContain(
      '\u001B[31m502',
    );
    expect(formatLine(loggedCall({ status: 404 }), coloured)).toContain('\u001B[33m404');
  });

  test('escapes control characters that a caller sent', () => {
    const path = '/a\u001B]0;title\u0007\r\n\u202Eb\u0085\u2028';
    const shown = formatLine(loggedCall({ path, caller: '\u001B[31mx', id: '\u009B' }), plain);
    expect(shown).toContain('/a\\u{1b}]0;title\\u{7}\\u{d}\\u{a}\\u{202e}b\\u{85}\\u{2028}');
    expect(shown).not.toMatch(/[\p{Cc}\u202E\u2028]/u);
  });
});

/** Every character that a terminal obeys, hides or takes as a change of direction. */
const UNPRINTABLE = Array.from({ length: 0x11_0000 }, (_, point) => point)
  .filter((point) => point < 0xd800 || point > 0xdfff)
  .map((point) => String.fromCodePoint(point))
  .filter((one) => /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(one));

describe('a text for a terminal', () => {
  test('has every control and format character escaped, and no other', () => {
    expect(UNPRINTABLE.length).toBeGreaterThan(200);
    for (const one of ['\u200B', '\u200D', '\u2066', '\u00AD', '\uFEFF', '\u{E0041}', '\u009B']) {
      expect(UNPRINTABLE).toContain(one);
    }
    for (const one of UNPRINTABLE) {
      const hex = (one.codePointAt(0) ?? 0).toString(16);
      expect(printable(`a${one}b`)).toBe(`a\\u{${hex}}b`);
    }
    const harmless = '/dömains/日本?a=✓&b=\u{1F600}';
    expect(printable(harmless)).toBe(harmless);
  });

  test('is still the same value when it is JSON', () => {
    for (const one of UNPRINTABLE) {
      const value = { path: `/a${one}b`, [one]: 1 };
      const shown = printableJson(JSON.stringify(value));
      expect(shown).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
      expect(JSON.parse(shown)).toEqual(value);
    }
    const harmless = '{"path":"/dömains/日本","emoji":"\u{1F600}"}\n';
    expect(printableJson(harmless)).toBe(harmless);
  });

  test('is still JSON when it had carriage returns and tabs between its tokens', () => {
    const shown = printableJson('{\r"a":\t1,\r"b":"\\r"}\n');
    expect(shown).toBe('{ "a":\t1, "b":"\\r"}\n');
    expect(JSON.parse(shown)).toEqual({ a: 1, b: '\r' });
  });
});

describe('a readable duration', () => {
  test.each([
    [0, '0'],
    [0.4, '0.4 ms'],
    [83.4, '83 ms'],
    [999.6, '1.0 s'],
    [59_949, '59.9 s'],
    [59_960, '1m 00s'],
    [125_000, '2m 05s'],
    [11_220_000, '3h 07m'],
    [439_200_000, '5d 02h'],
  ])('of %d ms is %s', (ms, shown) => {
    expect(readableDuration(ms)).toBe(shown);
  });
});

describe('a progress bar', () => {
  test('is drawn at most ten times per second, and removed at the end', () => {
    const clock = new FakeClock();
    const written: string[] = [];
    const progress = makeProgress({
      totalBytes: 100 * 1024 * 1024,
      clock,
      write: (text) => written.push(text),
    });
    for (let n = 0; n < 50; n++) {
      clock.advance(20);
      progress.advance(1024 * 1024);
    }
    expect(written.length).toBe(10);
    expect(written.at(-1)).toContain('50 %  50 of 100 MiB  50 MiB/s  1.0 s left');
    progress.clear();
    expect(written.at(-1)).toBe('\r\u001B[K');
  });
});
