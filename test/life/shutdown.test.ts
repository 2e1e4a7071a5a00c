import { createServer, type Server } from 'node:http';
import { Client } from 'undici';
import { afterEach, describe, expect, onTestFinished, test } from 'vitest';
import { startApp } from '../../src/app/app.ts';
import { systemRandom } from '../../src/util/system-clock.ts';
import { makeLog } from '../../src/telemetry/log.ts';
import { startAzion } from '../support/azion.ts';
import { askFor, settingsOf } from '../support/composed.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { startChild, type Child } from './child.ts';

const TOKEN = 'token shutdown-tests';

let child: Child | undefined;

afterEach(async () => {
  await child?.stop();
  child = undefined;
});

/** An API that holds every call back until the test lets it answer. */
async function holdingApi(): Promise<{ url: string; held: Promise<() => void> }> {
  let onHeld: ((answer: () => void) => void) | undefined;
  const held = new Promise<() => void>((resolve) => (onHeld = resolve));
  const server: Server = createServer((_, outgoing) => onHeld?.(() => outgoing.end('held')));
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return { url: `http://127.0.0.1:${address.port}`, held };
}

describe('between SIGTERM and the end of the drain delay', () => {
  test('it is not ready, and serves every call with an answer that closes the connection', async () => {
    const api = await startAzion();
    onTestFinished(() => api.close());
    child = await startChild({
      env: { HEADGATE_UPSTREAM_URL: api.url, HEADGATE_DRAIN_DELAY: '10m' },
    });
    const { url, adminUrl } = child;
    const headers = { authorization: TOKEN };
    // A connection from before, as a load balancer keeps them.
    const kept = new Client(url);
    onTestFinished(() => kept.destroy());
    const before = await kept.request({ path: '/domains', method: 'GET', headers });
    await before.body.dump();
    expect(before.headers['connection']).not.toBe('close');
    expect((await askFor(adminUrl, '/health/ready')).status).toBe(200);

    child.kill('SIGTERM');
    await child.waitFor('draining');
    expect((await askFor(adminUrl, '/health/ready')).status).toBe(503);
    expect((await askFor(adminUrl, '/health/live')).status).toBe(200);
    const onKept = await kept.request({ path: '/domains', method: 'GET', headers });
    await onKept.body.dump();
    expect(onKept.statusCode).toBe(200);
    expect(onKept.headers['connection']).toBe('close');
    const onNew = await askFor(url, '/domains', headers);
    expect(onNew).toMatchObject({ status: 200, headers: { connection: 'close' } });
    const refused = await askFor(url, '/domains', { ...headers, 'headgate-priority': 'x' });
    expect(refused).toMatchObject({ status: 400, headers: { connection: 'close' } });

    child.kill('SIGTERM');
    expect(await child.ended()).toEqual({ code: 143, signal: null });
  });

  test('it accepts until the very end of it, and then stops', async () => {
    const api = await startAzion();
    onTestFinished(() => api.close());
    const loaded = settingsOf({
      HEADGATE_UPSTREAM_URL: api.url,
      HEADGATE_LISTEN: '127.0.0.1:0',
      HEADGATE_ADMIN_LISTEN: 'off',
    });
    if (loaded.kind === 'bad') throw new Error(loaded.problems.join('\n'));
    const clock = new FakeClock();
    const log = makeLog({
      level: 'silent',
      replica: 'test',
      clock,
      destination: { write: () => undefined },
    });
    const gateway = await startApp({
      settings: loaded,
      clock,
      random: systemRandom,
      log,
      replica: 'test',
    });
    const stopped = gateway.stop('after-delay');
    clock.advance(4999);
    const answer = await askFor(gateway.url, '/domains', { authorization: TOKEN });
    expect(answer.status).toBe(200);
    clock.advance(1);
    await stopped;
    await expect(askFor(gateway.url, '/domains')).rejects.toThrow('ECONNREFUSED');
  });
});

describe('after the drain delay', () => {
  test('what is in flight is answered, and then the process ends', async () => {
    const api = await holdingApi();
    child = await startChild({ env: { HEADGATE_UPSTREAM_URL: api.url } });
    const asked = askFor(child.url, '/domains', { authorization: TOKEN });
    const answer = await api.held;
    child.kill('SIGTERM');
    await child.waitFor('draining');
    answer();
    expect(await asked).toMatchObject({ status: 200, body: 'held' });
    expect(await child.ended()).toEqual({ code: 0, signal: null });
    expect(child.said('stopped')).toMatchObject([{ inTime: true }]);
    expect(child.said('call')).toHaveLength(1);
  });

  test('what takes longer than the drain timeout hears so, and is logged', async () => {
    const api = await holdingApi();
    child = await startChild({
      env: { HEADGATE_UPSTREAM_URL: api.url, HEADGATE_DRAIN_TIMEOUT: '50ms' },
    });
    const asked = askFor(child.url, '/domains', { authorization: TOKEN });
    await api.held;
    child.kill('SIGTERM');
    const answer = await asked;
    expect(answer.status).toBe(503);
    expect(answer.headers).toMatchObject({ 'headgate-error': 'draining', 'retry-after': '1' });
    expect(await child.ended()).toEqual({ code: 0, signal: null });
    expect(child.said('stopped')).toMatchObject([{ inTime: false }]);
    expect(child.said('call')).toMatchObject([{ status: 503, code: 'draining', attempts: 1 }]);
  });
});

test('a call that waits for a reset beyond the end is told so at once, and another replica’s turn it is', async () => {
  const api = await startAzion();
  onTestFinished(() => api.close());
  child = await startChild({
    env: {
      HEADGATE_UPSTREAM_URL: api.url,
      HEADGATE_DRAIN_DELAY: '1s',
      HEADGATE_DRAIN_TIMEOUT: '1s',
    },
  });
  const headers = { authorization: TOKEN };
  const { url } = child;
  await askFor(url, '/domains', headers);
  api.consume(TOKEN, 'read', 1000);
  // The API refuses the first one, so that both wait for about a minute.
  const waiting = [askFor(url, '/domains', headers), askFor(url, '/domains', headers)];
  await child.waitFor('throttled');
  child.kill('SIGTERM');
  for (const answer of await Promise.all(waiting)) {
    expect(answer.status).toBe(503);
    expect(answer.headers).toMatchObject({ 'headgate-error': 'draining', connection: 'close' });
  }
  expect(await child.ended()).toEqual({ code: 0, signal: null });
});
