import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isHost, readConnect, readProxyKey } from '../../src/http/proxy-connect.ts';

describe('readConnect', () => {
  test.each([
    ['api.example:443', 'api.example', 443],
    ['API.Example.:443', 'api.example', 443],
    ['localhost:8443', 'localhost', 8443],
    ['[::1]:443', '::1', 443],
    ['[0:0:0:0:0:0:0:1]:443', '::1', 443],
    ['192.0.2.1:443', '192.0.2.1', 443],
  ])('reads %s', (target, host, port) => {
    expect(readConnect(target, {})).toEqual({ kind: 'ok', host, port });
    expect(readConnect(target, { host: target, 'content-length': '0' }).kind).toBe('ok');
  });

  test.each([
    'api.example',
    'api.example:',
    'api.example:0',
    'api.example:65536',
    'api.example:443/',
    'api.example:443?',
    'user@api.example:443',
    'user:password@api.example:443',
    'http://api.example:443',
    ' api.example:443',
    'api..example:443',
    '::1:443',
    'api.example:443,evil.example:443',
    'api.example:443\u0000',
    '',
    '443:443',
    '2130706433:443',
    '0x7f.1:443',
    '127.1:443',
    '010.0.0.1:443',
    '192.0.2.256:443',
    'api.1:443',
    '[a]:443',
    '[a:a]:443',
    '[::1%25eth0]:443',
  ])('refuses %j', (target) => {
    expect(readConnect(target, {}).kind).toBe('bad');
  });

  test('returns no host that the target does not have', () => {
    const part = fc.constantFrom(
      'a',
      'api',
      'a.',
      '1.',
      '0x7f',
      '[::',
      ']:443',
      '.',
      ':',
      '@',
      '/',
      '443',
      '[',
      ']',
      '?',
      '#',
      '\\',
      '%',
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 8 }), (parts) => {
        const target = parts.join('');
        const read = readConnect(target, {});
        if (read.kind === 'bad') return;
        // The parser of URLs finds the same host, whatever characters there are.
        const url = new URL(`https://${target}`);
        expect(url.hostname.replaceAll(/[[\]]|\.$/g, '')).toBe(read.host);
        expect(Number(url.port || 443)).toBe(read.port);
        expect(url.username + url.password + url.search + url.hash).toBe('');
      }),
      { numRuns: Number(process.env['HEADGATE_TEST_RUNS'] ?? 2000) },
    );
  });
});

test('isHost compares names without ports, whatever their case', () => {
  for (const field of ['api.example', 'API.example:443', 'api.example.', 'api.example.:443']) {
    expect([field, isHost(field, 'api.example')]).toEqual([field, true]);
  }
  for (const field of ['', 'x.api.example', 'api.example:443:443', 'api.example@a', 'a:443']) {
    expect([field, isHost(field, 'api.example')]).toEqual([field, false]);
  }
});

test('readProxyKey reads Basic alone', () => {
  const basic = (pair: string): string => `Basic ${Buffer.from(pair).toString('base64')}`;
  expect(readProxyKey(basic('name:the:key'))).toBe('the:key');
  expect(readProxyKey(basic('key:'))).toBe('key');
  expect(readProxyKey(basic('key').replace('Basic', 'bASIC'))).toBe('key');
  for (const field of [
    undefined,
    '',
    'Basic',
    'Basic ',
    basic(':'),
    'Bearer abc',
    'Basic §§',
    'Basic a=b',
  ]) {
    expect([field, readProxyKey(field)]).toEqual([field, undefined]);
  }
});
