import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { ask } from '../support/ask.ts';
import { changeFile } from '../support/changed-file.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { exchangeRaw } from '../support/raw-socket.ts';
import { bucketsOf, setUp, until } from '../support/setup.ts';

const ONE_A_MINUTE = { read: { limit: 1, periodMs: 60_000 } };

describe('the configured token', () => {
  test('is added when the caller sends no credential, and only then', async () => {
    const { azion, gateway } = await setUp({}, { settings: { HEADGATE_TOKEN: 'configured' } });
    await ask(`${gateway.url}/domains`);
    await ask(`${gateway.url}/domains`, { headers: { authorization: 'token of-the-caller' } });
    expect(azion.seen.map(({ headers }) => headers.authorization)).toEqual([
      'token configured',
      'token of-the-caller',
    ]);
    expect(gateway.log.text).not.toContain('configured');
    expect(gateway.log.text).not.toContain('of-the-caller');
  });

  test('is read again when its file changes, also for waiting requests', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'headgate-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const file = join(folder, 'token');
    writeFileSync(file, 'first\n');
    const clock = new FakeClock();
    const { azion, gateway } = await setUp(
      { semantics: 'fixed', limits: ONE_A_MINUTE },
      { settings: { HEADGATE_TOKEN_FILE: file }, clock },
    );
    await ask(`${gateway.url}/domains`);
    const waiting = ask(`${gateway.url}/domains`);
    await until('the request waits', async () => (await bucketsOf(gateway))[0]?.waiting === 1);
    await changeFile(
      file,
      'second, and longer\n',
      () => gateway.log.count('token file unusable: keeping the last token') > 0,
    );
    writeFileSync(file, 'second\n');
    await gateway.log.wait('token file re-read', 1);
    clock.advance(62_000);
    expect((await waiting).status).toBe(200);
    expect(azion.seen.map(({ headers }) => headers.authorization)).toEqual([
      'token first',
      'token second',
    ]);
    // Another token, but the same budget.
    const buckets = await bucketsOf(gateway);
    expect(buckets.map(({ id }) => id)).toEqual(['own:read']);
    expect(gateway.log.text).not.toMatch(/first|second/);
  });
});

describe('a header for the token that is set', () => {
  const settings = { HEADGATE_TOKEN: 'configured', HEADGATE_TOKEN_HEADER: 'X-Api-Key' };

  test('holds the token, and what callers send in it is a credential', async () => {
    const { azion, gateway } = await setUp({}, { settings });
    await ask(`${gateway.url}/domains`);
    await ask(`${gateway.url}/domains`, { headers: { 'x-api-key': 'of-a-caller' } });
    await ask(`${gateway.url}/domains`, { headers: { 'x-api-key': 'of-another' } });
    await ask(`${gateway.url}/domains`, { headers: { authorization: 'Bearer third' } });
    const sent = azion.seen.map(({ headers }) => [headers['x-api-key'], headers.authorization]);
    expect(sent).toEqual([
      ['configured', undefined],
      ['of-a-caller', undefined],
      ['of-another', undefined],
      [undefined, 'Bearer third'],
    ]);
    const calls = await gateway.log.wait('call', 4);
    expect(new Set(calls.map(({ bucket }) => bucket)).size).toBe(4);
    expect(gateway.log.text).not.toMatch(/configured|of-a-caller|of-another/);
  });

  test('may have a scheme before the token', async () => {
    const further = { ...settings, HEADGATE_TOKEN_HEADER: 'Authorization Bearer' };
    const { azion, gateway } = await setUp({}, { settings: further });
    await ask(`${gateway.url}/domains`);
    expect(azion.seen[0]?.headers.authorization).toBe('Bearer configured');
  });

  test('may be sent once', async () => {
    const { azion, gateway } = await setUp({}, { settings });
    const answer = await exchangeRaw(
      gateway.url,
      'GET /domains HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Api-Key: a\r\nx-api-key: b\r\n\r\n',
    );
    expect(answer).toContain('expected one x-api-key header, got 2');
    expect(azion.seen).toEqual([]);
  });
});

describe('the bucket of a request', () => {
  test('depends on credential and class, and not on the case of the scheme', async () => {
    const { gateway } = await setUp();
    const get = (authorization: string, method = 'GET') =>
      ask(`${gateway.url}/domains`, {
        method,
        headers: { authorization },
        ...(method === 'POST' ? { body: '{}' } : {}),
      });
    await get('token one');
    await get('Token one');
    await get('TOKEN one');
    await get('token two');
    await get('token one', 'POST');
    const lines = await gateway.log.wait('call', 5);
    const [first, second, third, other, write] = lines.map(({ bucket }) => bucket);
    expect([second, third]).toEqual([first, first]);
    expect(other).not.toBe(first);
    expect(write).not.toBe(first);
    expect(String(write).split(':')[0]).toBe(String(first).split(':')[0]);
    expect(lines.map((line) => line['class'])).toEqual(['read', 'read', 'read', 'read', 'write']);
    expect(gateway.log.text).not.toMatch(/token one|token two/i);
  });

  test.each([
    ['GET', '/domains', 'read'],
    ['HEAD', '/domains', 'read'],
    ['OPTIONS', '/domains', 'read'],
    ['PUT', '/domains/1', 'write'],
    ['PATCH', '/domains/1', 'write'],
    ['DELETE', '/domains/1', 'write'],
    ['POST', '/domains', 'write'],
    ['POST', '/purge/url', 'purge'],
    ['POST', '/purge/cachekey', 'purge'],
    ['POST', '/purge/wildcard', 'purge-wildcard'],
    ['POST', '//purge//wildcard/', 'purge-wildcard'],
    ['GET', '/purge/wildcard', 'read'],
  ])('%s %s has the class %s', async (method, path, className) => {
    const { gateway } = await setUp();
    await ask(`${gateway.url}${path}`, { method, headers: { authorization: 'token one' } });
    const [line] = await gateway.log.wait('call', 1);
    expect(line).toMatchObject({ class: className });
  });

  test('of an exhausted class does not delay another class', async () => {
    const limits = { ...ONE_A_MINUTE, write: { limit: 5, periodMs: 60_000 } };
    const settings = { HEADGATE_MAX_WAIT: '1s' };
    const { gateway } = await setUp({ semantics: 'fixed', limits }, { settings });
    const headers = { authorization: 'token one' };
    const get = () => ask(`${gateway.url}/domains`, { headers });
    expect([(await get()).status, (await get()).status]).toEqual([200, 503]);
    const post = await ask(`${gateway.url}/domains`, {
      method: 'POST',
      headers,
      body: '{"name":"a"}',
    });
    expect(post.status).toBe(201);
  });

  test('is shared by all credentials with HEADGATE_BUDGET_PER=upstream', async () => {
    const clock = new FakeClock();
    const { azion, gateway } = await setUp(
      { semantics: 'fixed', limits: ONE_A_MINUTE, perAccount: true },
      { settings: { HEADGATE_BUDGET_PER: 'upstream' }, clock },
    );
    await ask(`${gateway.url}/domains`, { headers: { authorization: 'token one' } });
    const other = ask(`${gateway.url}/domains`, { headers: { authorization: 'token two' } });
    await until('the request waits', async () => (await bucketsOf(gateway))[0]?.waiting === 1);
    clock.advance(62_000);
    expect((await other).status).toBe(200);
    expect((await bucketsOf(gateway)).map(({ id }) => id)).toEqual(['upstream:read']);
    expect(azion.throttled).toBe(0);
  });

  test('has HEADGATE_LIMIT when the API reports no limit', async () => {
    const clock = new FakeClock();
    const settings = { HEADGATE_LIMIT: '2/1m', HEADGATE_MAX_WAIT: '10m' };
    const { azion, gateway } = await setUp({}, { settings, clock });
    azion.failNext('no-rates', 3);
    const headers = { authorization: 'token one' };
    const first = [await ask(`${gateway.url}/domains`, { headers })];
    first.push(await ask(`${gateway.url}/domains`, { headers }));
    expect(first.map(({ status }) => status)).toEqual([200, 200]);
    const third = ask(`${gateway.url}/domains`, { headers });
    await until('the request waits', async () => (await bucketsOf(gateway))[0]?.waiting === 1);
    expect(azion.seen).toHaveLength(2);
    clock.advance(61_000);
    expect((await third).status).toBe(200);
  });
});
