import { describe, expect, test } from 'vitest';
import { ok, setUpApi } from '../http/setup.ts';
import { ask, type Answer } from '../support/ask.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { bucketsOf, setUp, until } from '../support/setup.ts';

const AUTHORIZATION = 'token secret-of-the-test';

describe('a bad header is refused, and the problem names it', () => {
  test.each([
    ['Headgate-Caller', 'a b', 'at most 64 of A-Z a-z 0-9 . _ / -'],
    ['Headgate-Caller', 'x'.repeat(65), 'at most 64 of A-Z a-z 0-9 . _ / -'],
    ['Headgate-Caller', 'é', 'at most 64 of A-Z a-z 0-9 . _ / -'],
    ['Headgate-Caller', '', 'at most 64 of A-Z a-z 0-9 . _ / -'],
    ['Headgate-Priority', 'urgent', 'high, normal or low'],
    ['Headgate-Priority', 'HIGH', 'high, normal or low'],
    ['Headgate-Priority', '', 'high, normal or low'],
    ['Headgate-Max-Wait', 'soon', 'seconds, or a duration such as 45s'],
    ['Headgate-Max-Wait', '-1', 'seconds, or a duration such as 45s'],
    ['Headgate-Max-Wait', '1e3', 'seconds, or a duration such as 45s'],
    ['Headgate-Max-Wait', '', 'seconds, or a duration such as 45s'],
  ])('%s: %s', async (name, value, expected) => {
    const { azion, gateway } = await setUp();
    const answer = await ask(`${gateway.url}/domains`, {
      headers: ['Authorization', AUTHORIZATION, name, value],
    });
    expect(answer.status).toBe(400);
    expect(answer.headers).toMatchObject({
      'content-type': 'application/problem+json',
      'headgate-error': 'bad-request',
    });
    expect(answer.headers['retry-after']).toBeUndefined();
    const problem: { detail: string } = JSON.parse(answer.text);
    expect(problem.detail).toContain(name);
    expect(problem.detail).toContain(expected);
    expect(azion.seen).toEqual([]);
    const [line] = await gateway.log.wait('call', 1);
    expect(line).toMatchObject({ status: 400, outcome: 'failed', code: 'bad-request' });
  });

  test('a repeated header is refused', async () => {
    const { gateway } = await setUp();
    for (const twice of ['Authorization', 'Headgate-Priority', 'Headgate-Max-Wait']) {
      const [first, second] =
        twice === 'Authorization' ? [AUTHORIZATION, 'token other'] : ['high', '5'];
      const answer = await ask(`${gateway.url}/domains`, {
        headers: [twice, first, twice, second],
      });
      expect(answer.status).toBe(400);
      expect(answer.text).toContain(twice);
      expect(answer.text).not.toContain('secret-of-the-test');
    }
  });
});

describe('Headgate-Max-Wait', () => {
  test.each(['30', '2.5', '45s', '1m30s', '250ms', '0'])('accepts %s', async (value) => {
    const { gateway } = await setUp();
    const answer = await ask(`${gateway.url}/domains`, {
      headers: { authorization: AUTHORIZATION, 'headgate-max-wait': value },
    });
    expect(answer.status).toBe(200);
  });

  test('can shorten the wait, but not extend it', async () => {
    const clock = new FakeClock();
    const limits = { read: { limit: 1, periodMs: 60_000 } };
    const settings = { HEADGATE_MAX_WAIT: '10s' };
    const { gateway } = await setUp({ semantics: 'fixed', limits }, { settings, clock });
    const headers = { authorization: AUTHORIZATION };
    await ask(`${gateway.url}/domains`, { headers });
    const answer = await ask(`${gateway.url}/domains`, {
      headers: { ...headers, 'headgate-max-wait': '1h' },
    });
    expect(answer.status).toBe(503);
    expect(answer.headers['headgate-error']).toBe('wait-too-long');
  });
});

describe('the name of the caller is', () => {
  const named = { 'headgate-caller': 'billing/nightly', 'user-agent': 'curl/8.5.0' };
  test.each([
    ['the one that it sends', {}, named, 'billing/nightly'],
    [
      'the one that it sends, before the configured one',
      { HEADGATE_CALLER: 'sidecar' },
      named,
      'billing/nightly',
    ],
    [
      'the configured name',
      { HEADGATE_CALLER: 'sidecar' },
      { 'user-agent': 'curl/8.5.0' },
      'sidecar',
    ],
    ["the User-Agent's product", {}, { 'user-agent': 'curl/8.5.0 (linux)' }, 'curl'],
    [
      'its address when the product is not a valid name',
      {},
      { 'user-agent': '<script>/1' },
      '127.0.0.1',
    ],
    ['its address when it sends no name', {}, {}, '127.0.0.1'],
  ])('%s', async (_what, settings, headers, caller) => {
    const { gateway } = await setUp({}, { settings });
    await ask(`${gateway.url}/domains`, { headers: { authorization: AUTHORIZATION, ...headers } });
    const [line] = await gateway.log.wait('call', 1);
    expect(line).toMatchObject({ caller });
  });
});

describe('the request to the API', () => {
  test('has the API version and the trace context, and nothing about the caller', async () => {
    const { azion, gateway } = await setUp();
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    await ask(`${gateway.url}/domains?page=2&order_by=name`, {
      headers: {
        authorization: AUTHORIZATION,
        traceparent,
        tracestate: 'vendor=opaque',
        baggage: 'userId=alice,tenant=acme',
        'headgate-caller': 'billing',
        'headgate-priority': 'high',
        'headgate-max-wait': '5',
        'x-forwarded-for': '10.1.2.3',
        'x-custom': 'kept',
      },
    });
    const [seen] = azion.seen;
    expect(seen?.url).toBe('/domains?page=2&order_by=name');
    expect(seen?.headers).toMatchObject({
      accept: 'application/json; version=3',
      authorization: AUTHORIZATION,
      traceparent,
      tracestate: 'vendor=opaque',
      'x-custom': 'kept',
      host: new URL(azion.url).host,
    });
    const names = Object.keys(seen?.headers ?? {});
    expect(
      names.filter((name) => /^(?:headgate-|x-forwarded|forwarded|baggage)/.test(name)),
    ).toEqual([]);
  });

  test('keeps the version that a caller requests', async () => {
    const { azion, gateway } = await setUp();
    const answer = await ask(`${gateway.url}/domains`, {
      headers: { authorization: AUTHORIZATION, accept: 'application/json; version=2' },
    });
    expect(azion.seen[0]?.headers.accept).toBe('application/json; version=2');
    // The API's own refusal is passed on unchanged.
    expect(answer.status).toBe(406);
    expect(answer.headers['headgate-error']).toBeUndefined();
  });

  test('keeps Accept when no version is configured', async () => {
    const { azion, gateway } = await setUp({}, { settings: { HEADGATE_API_VERSION: 'off' } });
    const headers = { authorization: AUTHORIZATION, accept: 'text/plain' };
    expect((await ask(`${gateway.url}/domains`, { headers })).status).toBe(406);
    expect(azion.seen[0]?.headers.accept).toBe('text/plain');
  });
});

describe('caller rules', () => {
  test('of the preset shed Azion_CLI before its own timeout, and terraform, both with 429', async () => {
    const clock = new FakeClock();
    const limits = { read: { limit: 1, periodMs: 60_000 } };
    const { gateway } = await setUp({ semantics: 'fixed', limits }, { clock });
    const get = (userAgent: string, maxWait: string) =>
      ask(`${gateway.url}/domains`, {
        headers: {
          authorization: AUTHORIZATION,
          'user-agent': userAgent,
          'headgate-max-wait': maxWait,
        },
      });
    expect((await get('curl/8', '2m')).status).toBe(200);

    const cli = await get('Azion_CLI/1.2.3', '2m');
    expect(cli.status).toBe(429);
    expect(cli.headers['headgate-error']).toBe('wait-too-long');

    const terraform = await get('terraform/1.9.0 terraform-provider-azion/1.40.0', '1s');
    expect(terraform.status).toBe(429);
    expect(terraform.headers['headgate-error']).toBe('wait-too-long');
    expect(terraform.headers['retry-after']).toMatch(/^[1-9]\d*$/);

    const curl = get('curl/8', '2m');
    await until('curl waits', async () => (await bucketsOf(gateway))[0]?.waiting === 1);
    clock.advance(62_000);
    expect((await curl).status).toBe(200);
  });

  test('of the file precede the preset, and cap the priority that a caller requests', async () => {
    const yaml = [
      'callers:',
      '  - name: nightly',
      '    maxPriority: low',
      '    shedStatus: 429',
      '    maxWait: 1s',
    ].join('\n');
    const limits = { read: { limit: 1, periodMs: 60_000 } };
    const { gateway } = await setUp(
      { semantics: 'fixed', limits },
      { files: { 'headgate.yaml': yaml } },
    );
    const headers = {
      authorization: AUTHORIZATION,
      'headgate-caller': 'nightly',
      'headgate-priority': 'high',
    };
    await ask(`${gateway.url}/domains`, { headers });
    expect((await ask(`${gateway.url}/domains`, { headers })).status).toBe(429);
    const lines = await gateway.log.wait('call', 2);
    expect(lines).toMatchObject([{ priority: 'low' }, { priority: 'low' }]);
  });
});

test('HEADGATE_SHED_STATUS is the status of every shed request', async () => {
  const limits = { read: { limit: 1, periodMs: 60_000 } };
  const settings = { HEADGATE_SHED_STATUS: '429', HEADGATE_MAX_WAIT: '1s' };
  const { gateway } = await setUp({ semantics: 'fixed', limits }, { settings });
  const headers = { authorization: AUTHORIZATION };
  await ask(`${gateway.url}/domains`, { headers });
  const shed = await ask(`${gateway.url}/domains`, { headers });
  expect(shed.status).toBe(429);
  expect(shed.headers['retry-after']).toMatch(/^[1-9]\d*$/);
});

test('Max-Forwards of OPTIONS is counted, and at 0 the request is not sent', async () => {
  const { api, gateway } = await setUpApi(ok);
  const send = (method: string, left: string): Promise<Answer> =>
    ask(`${gateway.url}/a`, { method, headers: { 'max-forwards': left } });
  await send('OPTIONS', '5');
  await send('GET', '5');
  expect(api.seen.map(({ headers }) => headers['max-forwards'])).toEqual(['4', '5']);
  const { status, headers } = await send('OPTIONS', '0');
  expect([status, headers['headgate-error']]).toEqual([501, 'method-not-supported']);
  expect(api.seen).toHaveLength(2);
});
