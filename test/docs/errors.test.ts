import { describe, expect, test } from 'vitest';
import { GatewayError, PROBLEMS, toProblem } from '../../src/gateway/problem.ts';
import { read, tableRows } from './markdown.ts';

const DOCUMENT = read('docs/errors.md');

describe('docs/errors.md', () => {
  test('lists every code with its status, and nothing else', () => {
    const listed = tableRows(DOCUMENT).map(([code = '', status]) => [code, status]);
    const known = Object.entries(PROBLEMS).map(([code, { status }]) => [
      `\`${code}\``,
      String(status),
    ]);
    expect(listed).toHaveLength(known.length);
    expect(Object.fromEntries(listed)).toEqual(Object.fromEntries(known));
  });

  test('says for every code when it comes, what to do, and whether Retry-After is there', () => {
    for (const [code, , when = '', advice = '', retryAfter = ''] of tableRows(DOCUMENT)) {
      expect([code, when.length > 10, advice.length > 10]).toEqual([code, true, true]);
      expect(['yes', 'no']).toContain(retryAfter);
    }
  });

  test.each(['docs/errors.md', 'README.md'])('the problem shown in %s is one', (path) => {
    const [shown = ''] = /\{\s*"type".*?\n?\}(?=\n```)/s.exec(read(path)) ?? [];
    const { detail, requestId } = JSON.parse(shown);
    const error = new GatewayError('wait-too-long', detail, { retryAfterMs: 41_500 });
    expect(JSON.parse(toProblem(error, requestId, 503).body)).toEqual(JSON.parse(shown));
  });
});
