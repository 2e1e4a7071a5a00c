// @module-tag needs-haproxy
import { describe, expect, test } from 'vitest';
import { ok, setUpApi } from '../http/setup.ts';
import { ask } from '../support/ask.ts';
import type { TestGateway } from '../support/gateway.ts';
import { startHaproxy } from '../support/haproxy.ts';
import { until } from '../support/setup.ts';

const portOf = (url: string): number => Number(new URL(url).port);
/** HAProxy connects from 127.0.0.1, and its client from another address of this host. */
const TRUSTED = { HEADGATE_TRUSTED_PROXIES: '127.0.0.1' };
const CLIENT = '127.0.0.77';

describe("a real HAProxy's health check of the admin port", () => {
  test.each([
    ['option httpchk'],
    ['option httpchk /health/ready'],
    ['option httpchk GET /health/live'],
    ['option httpchk HEAD /health/ready HTTP/1.0'],
  ])('%s passes', async (check) => {
    const { gateway } = await setUpApi(ok);
    const haproxy = await startHaproxy({
      mode: 'http',
      backend: [check],
      to: {
        port: portOf(gateway.url),
        options: `check port ${portOf(gateway.adminUrl)} inter 1m`,
      },
    });
    await until('the check has ended', async () =>
      /^L7|^L4[A-Z]+/.test((await haproxy.checked()).status),
    );
    expect(await haproxy.checked()).toEqual({ status: 'L7OK', code: '200' });
    expect(await ask(`${haproxy.url}/a`)).toMatchObject({ status: 200, text: 'ok' });
  });
});

describe('the address of a caller behind a real HAProxy', () => {
  async function callerIn(gateway: TestGateway): Promise<unknown> {
    // HAProxy itself may have opened a connection before, and reset it.
    const own = () => gateway.log.named('call').find(({ path }) => path === '/a');
    await until('the call has its line', () => own() !== undefined);
    return own()?.['caller'];
  }

  test.each([
    ['PROXY protocol, version 1', { mode: 'tcp', options: 'send-proxy', backend: [] }],
    ['PROXY protocol, version 2', { mode: 'tcp', options: 'send-proxy-v2', backend: [] }],
    ['the same in HTTP mode', { mode: 'http', options: 'send-proxy-v2', backend: [] }],
    ['X-Forwarded-For', { mode: 'http', options: '', backend: ['option forwardfor'] }],
  ] as const)('arrives by %s', async (_name, { mode, options, backend }) => {
    const { gateway } = await setUpApi(ok, TRUSTED);
    const haproxy = await startHaproxy({
      mode,
      backend,
      to: { port: portOf(gateway.url), options },
    });
    const answer = await ask(`${haproxy.url}/a`, { from: CLIENT });
    expect(answer).toMatchObject({ status: 200, text: 'ok' });
    expect(await callerIn(gateway)).toBe(CLIENT);
  });

  test('is not believed where the proxy is not trusted', async () => {
    const { gateway } = await setUpApi(ok);
    const haproxy = await startHaproxy({
      mode: 'http',
      backend: ['option forwardfor'],
      to: { port: portOf(gateway.url) },
    });
    expect(await ask(`${haproxy.url}/a`, { from: CLIENT })).toMatchObject({ status: 200 });
    expect(await callerIn(gateway)).toBe('127.0.0.1');
  });

  test('with a PROXY header that is not trusted, a call is a 400', async () => {
    const { gateway } = await setUpApi(ok);
    const haproxy = await startHaproxy({
      mode: 'tcp',
      to: { port: portOf(gateway.url), options: 'send-proxy' },
    });
    expect(await ask(`${haproxy.url}/a`, { from: CLIENT })).toMatchObject({ status: 400 });
  });
});
