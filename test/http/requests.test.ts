import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ensureVersion } from '../../src/http/accept.ts';
import { classify, DEFAULT_CLASS } from '../../src/http/classify.ts';
import { endToEnd, isIdentifying, toTheApi } from '../../src/http/hop-by-hop.ts';
import { maskPath, normaliseTarget, type Target } from '../../src/http/target.ts';
import { azionPreset } from '../../src/presets/azion.ts';

const JSON_TYPE = 'application/json';
const OURS = new Set(['gate.example', 'gate.example:8080', 'api.example']);
const target = (raw: string, method = 'GET'): Target =>
  normaliseTarget(raw, { isOurs: (authority) => OURS.has(authority), method });

describe('Accept', () => {
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
    // Go's clients send two lines, one generated and one by default.
    [['application/json; version=3', 'application/json'], `${V3}, application/json`],
    [['application/json;version=4'], 'application/json;version=4'],
    [['application/json; VERSION = 1'], 'application/json; VERSION = 1'],
    [['text/x; a="; version=9"'], `${V3}, text/x; a="; version=9"`],
    [['text/x; a="b,c"', 'application/json'], `text/x; a="b,c", ${V3}`],
  ])('%j becomes %j', (lines, expected) => {
    expect(ensureVersion(lines, JSON_TYPE, '3')).toBe(expected);
  });

  test('asks for a version whatever it was, and is not changed again', () => {
    fc.assert(
      fc.property(fc.array(fc.string(), { maxLength: 3 }), (lines) => {
        const once = ensureVersion(lines, JSON_TYPE, '3');
        expect(once).toMatch(/;\s*version\s*=/i);
        expect(ensureVersion([once], JSON_TYPE, '3')).toBe(once);
      }),
    );
  });
});

describe('fields between hops', () => {
  test('do not pass, nor what Connection names, in either direction', () => {
    const headers = [
      'Connection',
      'close, X-Private',
      'Keep-Alive',
      'timeout=5',
      'X-Private',
      '1',
      'TE',
      'trailers',
      'Transfer-Encoding',
      'chunked',
      'Upgrade',
      'h2c',
      'HTTP2-Settings',
      'AAMAAABk',
      'Proxy-Authorization',
      'Basic x',
      'X-Kept',
      'yes',
    ];
    expect(endToEnd(headers)).toEqual(['X-Kept', 'yes']);
    expect(toTheApi(headers)).toEqual(['X-Kept', 'yes']);
  });

  test('named by a Connection line that comes later are taken out as well', () => {
    expect(endToEnd(['X-A', '1', 'Connection', 'x-a'])).toEqual([]);
  });

  test('do not include what a message cannot do without', () => {
    const headers = ['Connection', 'authorization, content-type, host', 'Authorization', 'token t'];
    expect(toTheApi(headers)).toEqual(['Authorization', 'token t']);
  });

  test('leave repetitions, case and order as they were', () => {
    const headers = ['Set-Cookie', 'a=1', 'X-B', '2', 'set-cookie', 'c=3', 'SET-COOKIE', 'd=4'];
    expect(endToEnd(headers)).toEqual(headers);
  });

  test.each([
    'headgate-caller',
    'x-forwarded-for',
    'x-forwarded-anything',
    'forwarded',
    'via',
    'x-real-ip',
    'true-client-ip',
  ])('%s would tell who the caller is, and goes to nobody', (name) => {
    expect(isIdentifying(name)).toBe(true);
    expect(toTheApi([name, '10.0.0.7', 'X-Kept', 'yes'])).toEqual(['X-Kept', 'yes']);
  });

  test('that are replaced or answered here are left out', () => {
    const headers = ['Host', 'gate', 'Expect', '100-continue', 'Accept', '*/*'];
    expect(toTheApi(headers, new Set(['host', 'accept']))).toEqual([]);
  });
});

describe('a request target', () => {
  test.each([
    ['/domains', '/domains', ''],
    ['/', '/', ''],
    ['/a/b/../c', '/a/c', ''],
    ['/a/./b/.', '/a/b/', ''],
    ['/a/..', '/', ''],
    ['/../../etc/passwd', '/etc/passwd', ''],
    ['/%2e%2e/purge', '/purge', ''],
    ['/%2E%2e/%70urge', '/purge', ''],
    ['/a%2fb', '/a%2Fb', ''],
    ['/a%5cb', '/a%5Cb', ''],
    ['/%7euser', '/~user', ''],
    ['/...', '/...', ''],
    ['//evil.example/a', '//evil.example/a', ''],
    ['/a?b=/../c%2e', '/a', 'b=/../c%2e'],
    ['/a?', '/a', ''],
    ['/a?b?c', '/a', 'b?c'],
    ['http://gate.example', '/', ''],
    ['http://GATE.example:8080/a?b', '/a', 'b'],
    ['http://gate.example:80/a', '/a', ''],
    ['https://api.example:443/a', '/a', ''],
    ['http://gate.example?a', '/', 'a'],
  ])('%s has the path %s and the query %j', (raw, path, query) => {
    expect(target(raw)).toEqual({ kind: 'ok', path, query });
  });

  test.each([
    'http://evil.example/a',
    'http://gate.example@evil.example/',
    'http://gate.example:81/',
    'https://gate.example:80/',
    'http:///a',
    'http://gate.example.evil.example/',
  ])('%s names another host', (raw) => {
    expect(target(raw)).toMatchObject({ kind: 'forbidden' });
  });

  test.each([
    '',
    'domains',
    '*',
    '/a b',
    '/a\\..\\b',
    '/a#b',
    '/ä',
    '/a\u0000',
    '/a\r\nHost: evil',
    '/%',
    '/%zz',
    '/a?%2',
    'ftp://gate.example/',
    'javascript:alert(1)',
    `/${'a'.repeat(20_000)}`,
  ])('is not %j', (raw) => {
    expect(target(raw)).toMatchObject({ kind: 'bad', reason: expect.stringMatching(/./) });
  });

  test('may be * for OPTIONS alone', () => {
    expect(target('*', 'OPTIONS')).toEqual({ kind: 'ok', path: '*', query: '' });
  });

  const pieces = fc.constantFrom(
    '/',
    '.',
    '..',
    '%2e',
    '%2E',
    '%2f',
    '%5C',
    '%25',
    '%41',
    'a',
    '?',
    ':',
    '@',
    '//',
    'http:',
  );
  const targets = fc.oneof(
    fc.string(),
    fc.array(pieces, { maxLength: 12 }).map((all) => `/${all.join('')}`),
    fc.webUrl({ withQueryParameters: true }),
  );

  test('that is normalised is not changed by doing so again', () => {
    fc.assert(
      fc.property(targets, (raw) => {
        const once = target(raw);
        fc.pre(once.kind === 'ok');
        const again = target(once.query === '' ? once.path : `${once.path}?${once.query}`);
        expect(again).toEqual(once);
      }),
      { numRuns: 2000 },
    );
  });

  test('that passes is a path without dot segments, and never another host', () => {
    fc.assert(
      fc.property(targets, (raw) => {
        const { kind, path } = { path: '/', ...target(raw) };
        const segments = path.split('/').map((segment) => segment.replaceAll(/%2e/gi, '.'));
        expect(['ok', 'bad', 'forbidden']).toContain(kind);
        expect(path.startsWith('/')).toBe(true);
        expect(segments.some((segment) => segment === '.' || segment === '..')).toBe(false);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('the mask of a path', () => {
  test.each([
    ['/tokens/abc', '/tokens/***'],
    ['/tokens/abc/', '/tokens/***/'],
    ['/tokens/abc/def', '/tokens/***/def'],
    ['/TOKENS/abc', '/TOKENS/***'],
    ['//tokens//abc', '//tokens//***'],
    ['/tokens%2Fabc', '/tokens%2F***'],
    ['/tokens/abc%2Fdef', '/tokens/***'],
    ['/tokens', '/tokens'],
    ['/tokens/', '/tokens/'],
    ['/tokensabc/def', '/tokensabc/def'],
    ['/domains/tokens/abc', '/domains/tokens/abc'],
  ])('/tokens/* shows %s as %s', (path, shown) => {
    expect(maskPath(path, ['/tokens/*'])).toBe(shown);
  });

  test('may have several secrets, and there may be several masks', () => {
    const masks = ['/tokens/*', '/a/*/b/*'];
    expect(maskPath('/a/1/b/2', masks)).toBe('/a/***/b/***');
    expect(maskPath('/tokens/1', masks)).toBe('/tokens/***');
  });

  test('hides a secret however its path is spelt', () => {
    const slash = fc.constantFrom('/', '//', '%2F', '%2f');
    const word = fc.constantFrom('tokens', 'Tokens', 'TOKENS');
    fc.assert(
      fc.property(slash, word, slash, (first, spelt, second) => {
        expect(maskPath(`/${first}${spelt}${second}SECRET`, ['/tokens/*'])).not.toContain('SECRET');
      }),
    );
  });
});

describe('the class of a request', () => {
  test.each([
    ['GET', '/domains', 'read'],
    ['HEAD', '/', 'read'],
    ['OPTIONS', '*', 'read'],
    ['GET', '/purge/url', 'read'],
    ['POST', '/purge/wildcard', 'purge-wildcard'],
    ['POST', '/purge/wildcard/', 'purge-wildcard'],
    ['POST', '//Purge//Wildcard', 'purge-wildcard'],
    ['POST', '/purge/url', 'purge'],
    ['POST', '/purge', 'write'],
    ['POST', '/purges/url', 'write'],
    ['DELETE', '/domains/1', 'write'],
    ['PROPFIND', '/', 'write'],
  ])('%s %s is %s', (method, path, name) => {
    expect(classify(azionPreset.classes, method, path)).toBe(name);
  });

  test('is the one of all where there are no rules', () => {
    expect(classify([], 'GET', '/')).toBe(DEFAULT_CLASS);
  });
});
