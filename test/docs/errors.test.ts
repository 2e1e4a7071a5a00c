import { describe, expect, test } from 'vitest';
import { PROBLEMS } from '../../src/gateway/problem.ts';
import { read, tableRows } from './markdown.ts';

const DOCUMENT = read('docs/errors.md');

describe('docs/errors.md', () => {
  test('lists every code with its status, and no other code', () => {
    const listed = tableRows(DOCUMENT).map(([code = '', status]) => [code, status]);
    const known = Object.entries(PROBLEMS).map(([code, { status }]) => [
      `\`${code}\``,
      String(status),
    ]);
    expect(listed).toHaveLength(known.length);
    expect(Object.fromEntries(listed)).toEqual(Object.fromEntries(known));
  });

  test('explains every code: the cause, the remedy, and whether Retry-After is present', () => {
    for (const [code, , when = '', advice = '', retryAfter = ''] of tableRows(DOCUMENT)) {
      expect([code, when.length > 10, advice.length > 10]).toEqual([code, true, true]);
      expect(['yes', 'no']).toContain(retryAfter);
    }
  });
});
