import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ensureVersion } from '../../src/http/accept.ts';

const JSON_TYPE = 'application/json';

describe('the Accept field', () => {
  const V3 = 'application/json; version=3';

  test.each([
    [[], V3],
    [[''], V3],
    [['*/*'], V3],
    [['application/json'], V3],
    [['application/json', '*/*'], `${V3}, */*`],
    [['text/html'], `${V3}, text/html`],
    [['application/json; q=0.5, text/html'], `${V3}; q=0.5, text/html`],
    [['Application/JSON;q=1'], `${V3};q=1`],
    // Go clients send two lines, one that is generated and one by default.
    [['application/json; version=3', 'application/json'], `${V3}, application/json`],
    [['application/json;version=4'], 'application/json;version=4'],
    [['application/json; VERSION = 1'], 'application/json; VERSION = 1'],
    [['text/x; a="; version=9"'], `${V3}, text/x; a="; version=9"`],
    [['text/x; a="b,c"', 'application/json'], `text/x; a="b,c", ${V3}`],
    [['text/x; a="b\\"; version=2"'], `${V3}, text/x; a="b\\"; version=2"`],
    [['text/x; version=2; a="never closed'], 'text/x; version=2; a="never closed'],
    [['text/x; version'], `${V3}, text/x; version`],
  ])('%j becomes %j', (lines, expected) => {
    expect(ensureVersion(lines, JSON_TYPE, '3')).toBe(expected);
  });

  test('names a version whatever it was, and does not change when it is processed again', () => {
    fc.assert(
      fc.property(fc.array(fc.string(), { maxLength: 3 }), (lines) => {
        const once = ensureVersion(lines, JSON_TYPE, '3');
        expect(once).toMatch(/;\s*version\s*=/i);
        expect(ensureVersion([once], JSON_TYPE, '3')).toBe(once);
      }),
    );
  });
});
