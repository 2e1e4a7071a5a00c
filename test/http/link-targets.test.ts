import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { rewriteLink, rewriteLinkField, type LinkMap } from '../../src/http/links.ts';

const MAP: LinkMap = {
  apiOrigin: 'https://api.example',
  basePath: '/v4',
  callerOrigin: 'http://gate.internal:8080',
};

describe('a rewritten link', () => {
  test.each([
    ['/v4/items', '/items'],
    ['/v4', '/'],
    ['/v4?page=2', '/?page=2'],
    ['/v4#part', '/#part'],
    ['/v4//evil.example/x', 'http://gate.internal:8080//evil.example/x'],
    ['/v4/\\evil.example/x', 'http://gate.internal:8080//evil.example/x'],
    ['/v4/\t/evil.example/x', 'http://gate.internal:8080//evil.example/x'],
    ['https://api.example/v4?page=2', 'http://gate.internal:8080/?page=2'],
    ['https://api.example/v4//evil.example', 'http://gate.internal:8080//evil.example'],
    ['//api.example/v4/items?a=b#c', 'http://gate.internal:8080/items?a=b#c'],
    ['http://api.example/v4/items', 'http://gate.internal:8080/items'],
    ['http://api.example:443/v4/items', 'http://gate.internal:8080/items'],
    ['https://api.example:443/v4/%7Ea?q=%C3%A9', 'http://gate.internal:8080/%7Ea?q=%C3%A9'],
  ])('%j becomes %j', (reference, expected) => {
    expect(rewriteLink(reference, MAP)).toBe(expected);
  });

  test.each([
    '/other',
    '/v40/items',
    '/v4/../admin',
    'items?page=2',
    '?page=2',
    '#part',
    '',
    '//evil.example/v4/items',
    'https://evil.example/v4/items',
    'https://api.example:444/v4/items',
    'https://user@api.example/v4/items',
    'http://api.example:444/v4/items',
    'ftp://api.example/v4/items',
    'mailto:someone@api.example',
    'https://',
  ])('is not made of %j', (reference) => {
    expect(rewriteLink(reference, MAP)).toBe(reference);
  });

  test('keeps the other parts of a Link field', () => {
    expect(rewriteLinkField('</v4/a>; rel="next", </v4//evil.example>; rel="x"', MAP)).toBe(
      '</a>; rel="next", <http://gate.internal:8080//evil.example>; rel="x"',
    );
  });

  const parts = [
    '/',
    '\\',
    '\t',
    '\n',
    ' ',
    '.',
    '..',
    '/v4',
    'v4',
    '?',
    '#',
    '@',
    ':',
    'https:',
    'a',
    '//evil.example',
    'evil.example',
    'https://api.example',
    'api.example',
    '%2F',
    '%5C',
    ';',
  ];
  const references = fc
    .array(fc.constantFrom(...parts), { maxLength: 8 })
    .map((all) => all.join(''));
  const basePath = fc.constantFrom('', '/v4', '/a/b');

  test('never leads to a host that the API itself did not name', () => {
    fc.assert(
      fc.property(references, basePath, (reference, base) => {
        const map = { ...MAP, basePath: base };
        const rewritten = rewriteLink(reference, map);
        const byCaller = URL.parse(rewritten, `${map.callerOrigin}/items/1`)?.host;
        const byApi = URL.parse(reference, `${map.apiOrigin}${base}/items/1`)?.host;
        // Without a host of its own, a reference resolves to the gateway.
        expect([new URL(map.callerOrigin).host, byApi]).toContain(byCaller);
      }),
      { numRuns: 5000 },
    );
  });
});
