import { connect } from 'node:net';
import { describe, expect, test } from 'vitest';
import { ask } from '../support/ask.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { setUp, until } from '../support/setup.ts';

const AUTHORIZATION = 'token secret-of-the-test';
const headers = { authorization: AUTHORIZATION };

/** The fields of every line; docs/logs.md also lists some that are absent when unknown. */
const ALWAYS = [
  'level',
  'time',
  'msg',
  'replica',
  'id',
  'caller',
  'bucket',
  'class',
  'priority',
  'method',
  'path',
  'query',
  'status',
  'outcome',
  'attempts',
  'waitMs',
  'retryMs',
  'upstreamMs',
  'totalMs',
  'bytesIn',
  'bytesOut',
  'waiting',
].toSorted();

describe('the line of a call', () => {
  test('has the documented fields, and no others', async () => {
    const { gateway } = await setUp({}, { clock: new FakeClock() });
    const answer = await ask(`${gateway.url}/domains?page=2`, {
      method: 'POST',
      headers: { ...headers, 'headgate-caller': 'billing', 'headgate-priority': 'high' },
      body: '{"name":"a"}',
    });
    const [line = {}] = await gateway.log.wait('call', 1);
    const metered = [...ALWAYS, 'limit', 'remaining', 'resetInMs'].toSorted();
    expect(Object.keys(line).toSorted()).toEqual(metered);
    expect(line).toMatchObject({
      level: 'info',
      msg: 'call',
      replica: 'test',
      id: answer.headers['headgate-request-id'],
      caller: 'billing',
      class: 'write',
      priority: 'high',
      method: 'POST',
      path: '/domains',
      query: 'page=2',
      status: 201,
      outcome: 'answered',
      attempts: 1,
      waitMs: 0,
      bytesIn: 12,
      bytesOut: answer.body.length,
      limit: 20,
      remaining: 19,
      waiting: 0,
    });
    expect(new Date(String(line['time'])).toISOString()).toBe(line['time']);
    expect(line['totalMs']).toBeGreaterThanOrEqual(Number(line['upstreamMs']));
    expect(line['resetInMs']).toBeGreaterThan(50_000);
    expect(line['bucket']).toMatch(/^[0-9a-f]{16}:write$/);
  });

  test('has the code of a failure, and no figures of an unknown budget', async () => {
    const { azion, gateway } = await setUp({}, { settings: { HEADGATE_RETRIES: '0' } });
    azion.failNext('reset-before-read');
    await ask(`${gateway.url}/domains`, { headers });
    const [line = {}] = await gateway.log.wait('call', 1);
    expect(Object.keys(line).toSorted()).toEqual([...ALWAYS, 'code'].toSorted());
  });

  test('is written for a caller that disconnects while its request waits', async () => {
    const limits = { read: { limit: 1, periodMs: 60_000 } };
    const { azion, gateway } = await setUp({ semantics: 'fixed', limits });
    await ask(`${gateway.url}/domains`, { headers });
    const disconnect = new AbortController();
    const waiting = ask(`${gateway.url}/domains`, { headers, signal: disconnect.signal });
    await until('the request waits', async () => {
      const { buckets }: { buckets: { waiting: number }[] } = JSON.parse(
        (await ask(`${gateway.adminUrl}/buckets`)).text,
      );
      return buckets[0]?.waiting === 1;
    });
    disconnect.abort();
    await expect(waiting).rejects.toThrow(/abort/i);
    const [, line] = await gateway.log.wait('call', 2);
    expect(line).toMatchObject({ status: 0, outcome: 'aborted', attempts: 0, waiting: 0 });
    expect(azion.seen).toHaveLength(1);
  });

  test('is written for a caller that disconnects while its request is in flight, which counts as spent', async () => {
    const { azion, gateway } = await setUp();
    await ask(`${gateway.url}/domains`, { headers });
    azion.failNext('never-answer');
    const disconnect = new AbortController();
    const waiting = ask(`${gateway.url}/domains`, { headers, signal: disconnect.signal });
    await until('the request is in flight', () => azion.seen.length === 2);
    disconnect.abort();
    await expect(waiting).rejects.toThrow(/abort/i);
    const [, line] = await gateway.log.wait('call', 2);
    expect(line).toMatchObject({ outcome: 'aborted', attempts: 1, remaining: 78 });
  });
});

describe('the log never has', () => {
  test('a credential, a cookie, or the token in /tokens/*', async () => {
    const { azion, gateway } = await setUp();
    const basic = `Basic ${Buffer.from('someone@example.com:secret-of-the-test').toString('base64')}`;
    const secret = { authorization: basic, cookie: 'session=secret-of-the-test' };
    const created = await ask(`${gateway.url}/tokens`, { method: 'POST', headers: secret });
    expect(created.status).toBe(201);
    const { token }: { token: string } = JSON.parse(created.text);
    for (const path of [`/tokens/${token}`, `/Tokens/${token}/`, `//tokens//${token}?x=1`]) {
      await ask(`${gateway.url}${path}`, { method: 'DELETE', headers: secret });
    }
    azion.failNext('reset-before-read');
    await ask(`${gateway.url}/tokens/${token}`, { method: 'DELETE', headers: secret });
    const lines = await gateway.log.wait('call', 5);
    expect(lines.slice(1).map(({ path }) => String(path).toLowerCase())).toEqual([
      '/tokens/***',
      '/tokens/***/',
      '//tokens//***',
      '/tokens/***',
    ]);
    const written = gateway.log.text;
    expect(written).not.toContain(token);
    expect(written).not.toContain('secret-of-the-test');
    expect(written).not.toContain(basic.slice('Basic '.length));
    const admin = (await ask(`${gateway.adminUrl}/buckets`)).text;
    expect(admin).not.toContain(token);
    expect(admin).not.toContain('someone');
  });

  test('a line that a caller forged', async () => {
    const { gateway } = await setUp();
    const { hostname, port } = new URL(gateway.url);
    const forged = '{"level":"info","msg":"call","outcome":"answered"}';
    const targets = [
      `/a%0a${forged}`,
      `/a\u0085\u2028${forged}`,
      `/a"},"msg":"call"`,
      `/a?q=%0d%0a${forged}`,
      '/a\u0001b',
      '/a\u001b[2J',
    ];
    for (const target of targets) {
      await new Promise<void>((resolve, reject) => {
        const socket = connect(Number(port), hostname, () => {
          const head = `GET ${target} HTTP/1.1\r\nHost: ${hostname}:${port}\r\nUser-Agent: x\u0085y\r\n`;
          socket.write(
            `${head}Authorization: ${AUTHORIZATION}\r\nConnection: close\r\n\r\n`,
            'utf8',
          );
        });
        socket.resume().on('close', () => resolve());
        socket.on('error', reject);
      });
    }
    const lines = await gateway.log.wait('call', targets.length);
    expect(lines).toHaveLength(targets.length);
    expect(gateway.log.forged).toEqual([]);
    // Characters that a terminal or viewer takes for a line end or a command are escaped.
    const raw = gateway.log.text.replaceAll('\n', '');
    expect(raw.match(/[\p{Cc}\p{Zl}\p{Zp}]/gu)).toBeNull();
  });
});

test('a secret query parameter is in no line and not at the admin listener, whether its call is answered or refused', async () => {
  const files = { 'headgate.yaml': 'queryMasks: [access_token]' };
  const { azion, gateway } = await setUp({}, { files });
  const target = `${gateway.url}/domains?page=2&Access%5ftoken=hush-secret`;
  expect((await ask(target, { headers })).status).toBe(200);
  expect((await ask(target, { headers: { ...headers, 'headgate-max-wait': 'x' } })).status).toBe(
    400,
  );
  const lines = await gateway.log.wait('call', 2);
  for (const { query } of lines) expect(query).toBe('page=2&Access%5ftoken=***');
  const calls = await ask(`${gateway.adminUrl}/calls`);
  expect(calls.text).toContain('Access%5ftoken=***');
  expect(calls.text).not.toContain('hush-secret');
  expect(gateway.log.text).not.toContain('hush-secret');
  // The API receives the query as it was sent.
  expect(azion.seen[0]?.url).toBe('/domains?page=2&Access%5ftoken=hush-secret');
});
