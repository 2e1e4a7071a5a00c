import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { coveringRule } from '../../src/http/classify.ts';
import {
  coversPattern,
  foldPath,
  makePathPattern,
  normalPattern,
} from '../../src/http/path-pattern.ts';

const matches = (pattern: string, path: string): boolean =>
  makePathPattern(pattern)(foldPath(path));

describe('a pattern of paths', () => {
  test.each([
    ['/', ['/'], ['/a', '*']],
    ['/Graphql', ['/graphql', '/GraphQL/', '//graphql'], ['/graphql/a', '/graph', '/a/graphql']],
    ['/*', ['/a', '/a/', '/**'], ['/', '/a/b', '*']],
    ['/**', ['/', '/a', '/a/b', '*'], []],
    [
      '/purge/*',
      ['/purge/url', '/Purge%2Furl/', '/purge/*'],
      ['/purge', '/purge/a/b', '/purges/a'],
    ],
    ['/purge/**', ['/purge', '/purge/', '/purge/a', '/purge/a/b'], ['/purges', '/a/purge', '/']],
    [
      '/zones/*/records',
      ['/zones/1/records'],
      ['/zones/records', '/zones/1/2/records', '/zones/1'],
    ],
    ['/zones/*/records/**', ['/zones/1/records', '/zones/1/records/2/a'], ['/zones/1/recordsa']],
    [
      '/v*/search',
      ['/v1/search', '/v/search', '/v2-beta/search'],
      ['/v1/a/search', '/a/v1/search'],
    ],
    ['/*.json', ['/a.json', '/.json'], ['/a/b.json', '/a.json.gz']],
    ['/a*a', ['/aa', '/aba'], ['/a']],
    ['/a*b*c', ['/abc', '/a1b2c', '/abbcc'], ['/acb', '/ab', '/ac']],
    ['/**/records', ['/records', '/a/records', '/a/b/records'], ['/records/a', '/arecords']],
    ['/a/**/b', ['/a/b', '/a/1/b', '/a/b/b', '/a/1/b/2/b'], ['/a', '/a/b/1', '/ab']],
    ['/a/**/b/*/c', ['/a/b/1/c', '/a/b/1/b/2/c', '/a/b/b/c'], ['/a/b/c', '/a/b/1/c/d']],
    ['/**/a/**/b/**', ['/a/b', '/1/a/2/b/3', '/b/a/b'], ['/b/a', '/a']],
  ])('%s matches as documented', (pattern, its, others) => {
    expect(its.filter((path) => !matches(pattern, path))).toEqual([]);
    expect(others.filter((path) => matches(pattern, path))).toEqual([]);
  });

  test('decides a path of many repetitions that almost matches', () => {
    const path = `${'/a'.repeat(8000)}/${'a'.repeat(8000)}`;
    expect(matches(`${'/**/a'.repeat(50)}/**/${'a*'.repeat(50)}b`, path)).toBe(false);
    expect(matches(`${'/**/a'.repeat(50)}/**/${'a*'.repeat(50)}`, path)).toBe(true);
  });
});

/** The documented meaning, as it is written: each star is tried in every way. */
function matchesNaively(pattern: readonly string[], path: readonly string[]): boolean {
  const [segment, ...further] = pattern;
  if (segment === undefined) return path.length === 0;
  if (segment === '**') {
    return (
      matchesNaively(further, path) || (path.length > 0 && matchesNaively(pattern, path.slice(1)))
    );
  }
  const [first, ...rest] = path;
  return (
    first !== undefined && first !== '' && takes(segment, first) && matchesNaively(further, rest)
  );
}

function takes(segment: string, text: string): boolean {
  if (segment === '') return text === '';
  if (segment.startsWith('*')) {
    return takes(segment.slice(1), text) || (text !== '' && takes(segment, text.slice(1)));
  }
  return segment[0] === text[0] && takes(segment.slice(1), text.slice(1));
}

const word = fc.string({ unit: fc.constantFrom('a', 'b', '*'), minLength: 1, maxLength: 4 });
const pathSegments = fc.array(word, { maxLength: 6 });
const patternSegments = fc.array(
  fc.oneof(
    fc.constant('**'),
    fc.constant('*'),
    word.map((text) => text.replaceAll(/\*{2,}/g, '*')),
  ),
  { maxLength: 5 },
);
const textOf = (segments: readonly string[]): string => `/${segments.join('/')}`;

describe('any pattern', () => {
  test('matches what its definition matches', () => {
    fc.assert(
      fc.property(patternSegments, pathSegments, (pattern, path) => {
        const expected = matchesNaively(pattern, path);
        expect(makePathPattern(textOf(pattern))(textOf(path))).toBe(expected);
      }),
      { numRuns: 5000 },
    );
  });

  test('that covers another one matches all its paths', () => {
    let covered = 0;
    fc.assert(
      fc.property(patternSegments, patternSegments, pathSegments, (wide, narrow, path) => {
        if (!coversPattern(textOf(wide), textOf(narrow))) return;
        covered++;
        const text = textOf(path);
        expect(makePathPattern(textOf(narrow))(text) && !makePathPattern(textOf(wide))(text)).toBe(
          false,
        );
      }),
      { numRuns: 20_000 },
    );
    expect(covered).toBeGreaterThan(100);
  });

  test('covers itself, and has one normal form', () => {
    fc.assert(
      fc.property(patternSegments, (segments) => {
        const pattern = textOf(segments);
        expect(coversPattern(pattern, pattern)).toBe(true);
        expect(normalPattern(normalPattern(pattern))).toBe(normalPattern(pattern));
      }),
    );
  });
});

describe('a rule behind another one', () => {
  test.each([
    ['/**', undefined, 0],
    [undefined, '/a', 0],
    ['/a/**', '/a', 0],
    ['/a/**', '/a/*', 0],
    ['/a/**', '/A/*/b/**', 0],
    ['/a/*', '/a/b', 0],
    ['/a/*', '/a/b*', 0],
    ['/*/b', '/a*/b', 0],
    ['/**/b', '/a/**/b', 0],
    ['/a/*', '/a/**', undefined],
    ['/a/*', '/a', undefined],
    ['/a/*', '/*/a', undefined],
    ['/a*', '/*', undefined],
    ['/*', '/', undefined],
    ['/', '/**', undefined],
    ['/*/**', undefined, undefined],
    ['/*', undefined, undefined],
  ])('%s takes all that %s takes: %s', (wide, narrow, expected) => {
    const ruleOf = (path: string | undefined): { name: string; path?: string } =>
      path === undefined ? { name: 'x' } : { name: 'x', path };
    expect(coveringRule([ruleOf(wide)], ruleOf(narrow))).toBe(expected);
  });
});
