import { Client } from 'undici';
import { describe, expect, onTestFinished, test } from 'vitest';
import { startApi } from '../support/api.ts';
import { ask, type Answer } from '../support/ask.ts';
import { startAzion, type Azion } from '../support/azion.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { startGateway } from '../support/gateway.ts';
import { startGatewayProcess, type GatewayProcess } from '../support/gateway-process.ts';

const TOKEN = 'token shutdown-tests';
const headers = { authorization: TOKEN };

async function startApiForTest(): Promise<Azion> {
  const api = await startAzion();
  onTestFinished(() => api.close());
  return api;
}

async function start(
  upstream: string,
  settings: Record<string, string> = {},
): Promise<GatewayProcess> {
  const gateway = await startGatewayProcess({ upstream, settings });
  onTestFinished(() => gateway.stop());
  return gateway;
}

function get({ url }: { url: string }): Promise<Answer> {
  return ask(`${url}/domains`, { headers });
}

/** An API that answers the first call only when the test releases it. */
async function startHoldingApi(): Promise<{ url: string; held: Promise<() => void> }> {
  let onHeld: ((release: () => void) => void) | undefined;
  const held = new Promise<() => void>((resolve) => (onHeld = resolve));
  const api = await startApi((_, outgoing) => onHeld?.(() => outgoing.end('held')));
  onTestFinished(() => api.close());
  return { url: api.url, held };
}

describe('during the drain delay after SIGTERM', () => {
  test('the gateway is not ready, and each answer closes its connection', async () => {
    const api = await startApiForTest();
    const gateway = await start(api.url, { HEADGATE_DRAIN_DELAY: '10m' });
    const { url, adminUrl } = gateway;
    // A connection from before the signal, like those that a load balancer keeps.
    const kept = new Client(url);
    onTestFinished(() => kept.destroy());
    const before = await kept.request({ path: '/domains', method: 'GET', headers });
    await before.body.dump();
    expect(before.headers['connection']).not.toBe('close');
    expect((await ask(`${adminUrl}/health/ready`)).status).toBe(200);

    gateway.kill('SIGTERM');
    await gateway.log.first('draining');
    expect((await ask(`${adminUrl}/health/ready`)).status).toBe(503);
    expect((await ask(`${adminUrl}/health/live`)).status).toBe(200);
    const onKept = await kept.request({ path: '/domains', method: 'GET', headers });
    await onKept.body.dump();
    expect(onKept.statusCode).toBe(200);
    expect(onKept.headers['connection']).toBe('close');
    expect(await get(gateway)).toMatchObject({ status: 200, headers: { connection: 'close' } });
    const refused = await ask(`${url}/domains`, {
      headers: { ...headers, 'headgate-priority': 'x' },
    });
    expect(refused).toMatchObject({ status: 400, headers: { connection: 'close' } });

    gateway.kill('SIGINT');
    expect(await gateway.ended).toEqual({ code: 130, signal: null });
  });

  test('the gateway accepts calls until the delay is over, and none after it', async () => {
    const api = await startApiForTest();
    const clock = new FakeClock();
    const gateway = await startGateway({
      upstream: api.url,
      settings: { HEADGATE_ADMIN_LISTEN: 'off', HEADGATE_DRAIN_DELAY: '5s' },
      clock,
    });
    const stopped = gateway.stopAfterDelay();
    clock.advance(4999);
    expect((await get(gateway)).status).toBe(200);
    clock.advance(1);
    await stopped;
    await expect(get(gateway)).rejects.toThrow('ECONNREFUSED');
  });
});

describe('after the drain delay', () => {
  test('a call in flight is answered, and then the process ends', async () => {
    const api = await startHoldingApi();
    const gateway = await start(api.url);
    const answer = get(gateway);
    const release = await api.held;
    gateway.kill('SIGTERM');
    await gateway.log.first('draining');
    release();
    expect(await answer).toMatchObject({ status: 200, text: 'held' });
    expect(await gateway.ended).toEqual({ code: 0, signal: null });
    expect(gateway.log.named('stopped')).toMatchObject([{ inTime: true }]);
    expect(gateway.log.count('call')).toBe(1);
  });

  test('a call that takes longer than the drain timeout gets a 503, and is logged', async () => {
    const api = await startHoldingApi();
    const gateway = await start(api.url, { HEADGATE_DRAIN_TIMEOUT: '50ms' });
    const asked = get(gateway);
    await api.held;
    gateway.kill('SIGTERM');
    const answer = await asked;
    expect(answer.status).toBe(503);
    expect(answer.headers).toMatchObject({ 'headgate-error': 'draining', 'retry-after': '1' });
    expect(await gateway.ended).toEqual({ code: 0, signal: null });
    expect(gateway.log.named('stopped')).toMatchObject([{ inTime: false }]);
    expect(gateway.log.named('call')).toMatchObject([
      { status: 503, code: 'draining', attempts: 1 },
    ]);
  });
});

test('a POST that is cut off gets a 502 that says that it may have been executed', async () => {
  const api = await startHoldingApi();
  const gateway = await start(api.url, { HEADGATE_DRAIN_TIMEOUT: '50ms' });
  const asked = ask(`${gateway.url}/domains`, { method: 'POST', headers, body: '{}' });
  await api.held;
  gateway.kill('SIGTERM');
  const answer = await asked;
  expect(answer.status).toBe(502);
  expect(answer.headers['headgate-error']).toBe('drain-timeout');
  expect(answer.headers).not.toHaveProperty('retry-after');
  expect(JSON.parse(answer.text)).toMatchObject({
    detail: expect.stringContaining('may have executed'),
  });
  expect(await gateway.ended).toEqual({ code: 0, signal: null });
  expect(gateway.log.named('call')).toMatchObject([
    { status: 502, outcome: 'failed', code: 'drain-timeout' },
  ]);
});

test('a call whose budget refills after the drain timeout is refused at once, for another replica', async () => {
  const api = await startApiForTest();
  const gateway = await start(api.url, {
    HEADGATE_DRAIN_DELAY: '1s',
    HEADGATE_DRAIN_TIMEOUT: '1s',
  });
  await get(gateway);
  api.consume(TOKEN, 'read', 1000);
  // The API refuses the first one, so that both wait for about a minute.
  const waiting = [get(gateway), get(gateway)];
  await gateway.log.first('throttled');
  gateway.kill('SIGTERM');
  for (const answer of await Promise.all(waiting)) {
    expect(answer.status).toBe(503);
    expect(answer.headers).toMatchObject({ 'headgate-error': 'draining', connection: 'close' });
  }
  expect(await gateway.ended).toEqual({ code: 0, signal: null });
});
