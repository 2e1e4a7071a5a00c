import { describe, expect, test } from 'vitest';
import {
  headersForCaller,
  isIdentifying,
  makeHeadersForApi,
} from '../../src/http/header-filter.ts';

const headersForApi = makeHeadersForApi();

describe('header fields', () => {
  test('that are hop-by-hop or listed in Connection are not forwarded in either direction', () => {
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
    expect(headersForCaller(headers)).toEqual(['X-Kept', 'yes']);
    expect(headersForApi(headers)).toEqual(['X-Kept', 'yes']);
  });

  test('that name other ways to the API are not forwarded to callers', () => {
    const headers = ['Alt-Svc', 'h3=":443"; ma=86400', 'X-A', '1'];
    expect(headersForCaller(headers)).toEqual(['X-A', '1']);
  });

  test('that a later Connection line lists are not forwarded either', () => {
    expect(headersForCaller(['X-A', '1', 'Connection', 'x-a'])).toEqual([]);
  });

  test('that are essential are forwarded even if Connection lists them', () => {
    const headers = ['Connection', 'authorization, content-type, host', 'Authorization', 'token t'];
    expect(headersForApi(headers)).toEqual(['Authorization', 'token t']);
  });

  test('keep their repetitions, case and order', () => {
    const headers = ['Set-Cookie', 'a=1', 'X-B', '2', 'set-cookie', 'c=3', 'SET-COOKIE', 'd=4'];
    expect(headersForCaller(headers)).toEqual(headers);
  });

  test.each([
    'headgate-caller',
    'x-forwarded-for',
    'x-forwarded-anything',
    'forwarded',
    'via',
    'x-real-ip',
    'true-client-ip',
  ])('that identify the caller are not forwarded: %s', (name) => {
    expect(isIdentifying(name)).toBe(true);
    expect(headersForApi([name, '10.0.0.7', 'X-Kept', 'yes'])).toEqual(['X-Kept', 'yes']);
  });

  test.each([
    'X-HTTP-Method-Override',
    'X-HTTP-Method',
    'X-Method-Override',
    'X-Original-URL',
    'X-Rewrite-URL',
    'X_Real_IP',
    'Headgate_Caller',
    '_',
    'baggage',
  ])(
    'that may stand for another request or caller are not forwarded unless allowed: %s',
    (name) => {
      const headers = [name, 'DELETE', 'X-Kept', 'yes'];
      expect(headersForApi(headers)).toEqual(['X-Kept', 'yes']);
      expect(headersForCaller(headers)).toEqual(headers);
      const allowing = makeHeadersForApi({ allowed: [name.toLowerCase()] });
      expect(allowing(headers)).toEqual(headers);
      expect(allowing(['a_b', '1'])).toEqual([]);
    },
  );

  test('that the gateway replaces or answers itself are not forwarded', () => {
    const headers = ['Host', 'gate', 'Expect', '100-continue', 'Accept', '*/*'];
    expect(makeHeadersForApi({ replaced: ['host', 'accept'] })(headers)).toEqual([]);
  });
});
