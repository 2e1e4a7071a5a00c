import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { makeQueryMask, maskPath, normaliseTarget, type Target } from '../../src/http/target.ts';

const OURS = new Set(['gate.example', 'gate.example:8080', 'api.example']);
const target = (raw: string, method = 'GET'): Target =>
  normaliseTarget(raw, { isOurs: (authority) => OURS.has(authority), method });

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
    expect(target(raw)).toMatchObject({ kind: 'ok', path, query });
  });

  test.each([
    ['/a%2fb%7e%c3%A9', '/a%2fb%7e%c3%A9'],
    ['/%70urge', '/%70urge'],
    ['/a?', '/a?'],
    ['/a?search=100%', '/a?search=100%'],
    ['/a?re=a\\d&b=%zz&c=/../d', '/a?re=a\\d&b=%zz&c=/../d'],
    ['/a?b=|{}"<>^`', '/a?b=|{}"<>^`'],
    ['//a//b?c?d', '//a//b?c?d'],
    ['http://gate.example?a', '/?a'],
    ['http://gate.example/%7e?a%', '/%7e?a%'],
    // These spell another path than the one that is classified.
    ['/%7e/../a%2fb?c%', '/a%2Fb?c%'],
    ['/%2e%2e/purge', '/purge'],
    ['/a/.', '/a/'],
  ])('%s is sent as %s', (raw, sent) => {
    expect(target(raw)).toMatchObject({ kind: 'ok', sent });
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
    '/a?b#c',
    '/%2?a',
    'ftp://gate.example/',
    'javascript:alert(1)',
    `/${'a'.repeat(20_000)}`,
  ])('is refused: %j', (raw) => {
    expect(target(raw)).toMatchObject({ kind: 'bad', reason: expect.stringMatching(/./) });
  });

  test.each([
    '/x/..%2ftokens/SECRET',
    '/..%2F..%2Fadmin',
    '/%2e%2e%2fadmin',
    '/a/..%5cb',
    '/a%2f../b%2F..',
    '/x/..;/tokens/SECRET',
    '/x/..;a=1/tokens',
    '/x/.;/tokens',
    '/a;/..;/b',
    '/%252e%252e%252fadmin',
    '/%25252e%25252e%25252fadmin',
    '/x/..%3b/tokens',
  ])('is refused for the dot segment that it hides: %s', (raw) => {
    expect(target(raw)).toMatchObject({
      kind: 'bad',
      reason: expect.stringMatching(/dot segment/),
    });
  });

  test.each(['/a;b=..', '/a%2Fb', '/group%2Fproject..x', '/a/...;x', '/v1.2;a=1', '/50%25'])(
    'is accepted: %s',
    (raw) => {
      expect(target(raw)).toMatchObject({ kind: 'ok', path: raw });
    },
  );

  test('may be * only for OPTIONS', () => {
    expect(target('*', 'OPTIONS')).toEqual({ kind: 'ok', path: '*', query: '', sent: '*' });
  });

  const fragments = fc.constantFrom(
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
    '%7e',
    '%zz',
    '\\',
  );
  const targets = fc.oneof(
    fc.string(),
    fc.array(fragments, { maxLength: 12 }).map((all) => `/${all.join('')}`),
    fc.webUrl({ withQueryParameters: true }),
  );

  test('that was normalised does not change when it is normalised again', () => {
    fc.assert(
      fc.property(targets, (raw) => {
        const once = target(raw);
        fc.pre(once.kind === 'ok');
        const { path, query } = once;
        expect(target(query === '' ? path : `${path}?${query}`)).toMatchObject({ path, query });
        // The API finds the same path and query in what it receives.
        expect(target(once.sent)).toEqual(once);
      }),
      { numRuns: 2000 },
    );
  });

  test('that is accepted is a path without dot segments, and never another host', () => {
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
    ['/tokens%5Cabc', '/tokens%5C***'],
    ['/tokens;x/abc', '/tokens;x/***'],
    ['/tokens;x=1%2Fabc/d', '/tokens;x=1%2F***/d'],
    ['/tokens%3Bx/abc;y=2', '/tokens%3Bx/***'],
    ['/tokens;', '/tokens;'],
    ['/tokens', '/tokens'],
    ['/tokens/', '/tokens/'],
    ['/tokensabc/def', '/tokensabc/def'],
    ['/domains/tokens/abc', '/domains/tokens/abc'],
  ])('/tokens/* shows %s as %s', (path, shown) => {
    expect(maskPath(path, ['/tokens/*'])).toBe(shown);
  });

  test('may have several secret segments, and several masks may apply', () => {
    const masks = ['/tokens/*', '/a/*/b/*'];
    expect(maskPath('/a/1/b/2', masks)).toBe('/a/***/b/***');
    expect(maskPath('/tokens/1', masks)).toBe('/tokens/***');
  });

  test('hides a secret however its path is spelled', () => {
    const slash = fc.constantFrom('/', '//', '%2F', '%2f');
    const word = fc.constantFrom('tokens', 'Tokens', 'TOKENS');
    fc.assert(
      fc.property(slash, word, slash, (first, spelled, second) => {
        expect(maskPath(`/${first}${spelled}${second}SECRET`, ['/tokens/*'])).not.toContain(
          'SECRET',
        );
      }),
    );
  });
});

describe('a query mask', () => {
  const mask = makeQueryMask(['access_token', 'Key']);

  test.each([
    ['access_token=SECRET', 'access_token=***'],
    ['a=1&access_token=SECRET&b=2', 'a=1&access_token=***&b=2'],
    ['key=SECRET&KEY=SECRET', 'key=***&KEY=***'],
    ['ACCESS%5FTOKEN=SECRET', 'ACCESS%5FTOKEN=***'],
    ['%61ccess_t%6Fken=SECRET=SECRET', '%61ccess_t%6Fken=***'],
    ['+key+=SECRET', '+key+=***'],
    ['key[]=SECRET&key[a]=SECRET', 'key[]=***&key[a]=***'],
    ['a=1;key=SECRET;SECRET&b=2', 'a=1;key=***&b=2'],
    ['key=', 'key=***'],
    ['', ''],
    ['key', 'key'],
    ['a=key&monkey=1&keys=2', 'a=key&monkey=1&keys=2'],
    ['&&=&;;a', '&&=&;;a'],
  ])('shows %s as %s', (query, shown) => {
    expect(mask(query)).toBe(shown);
  });

  test('hides a value however its name is spelled', () => {
    const spelling = fc
      .array(fc.constantFrom('plain', 'upper', 'escaped'), { minLength: 3, maxLength: 3 })
      .map((ways) =>
        ways
          .map((way, i) => {
            const letter = 'key'.charAt(i);
            if (way === 'escaped') return `%${letter.charCodeAt(0).toString(16)}`;
            return way === 'upper' ? letter.toUpperCase() : letter;
          })
          .join(''),
      );
    fc.assert(
      fc.property(spelling, fc.constantFrom('', 'a=1&', 'a;'), (name, before) => {
        expect(mask(`${before}${name}=SECRET&c=3`)).toBe(`${before}${name}=***&c=3`);
      }),
    );
  });
});
