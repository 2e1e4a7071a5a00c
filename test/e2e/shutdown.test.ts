import { Agent } from 'node:http';
import { expect, onTestFinished, test } from 'vitest';
import { ask, askMany, type Answer } from '../support/ask.ts';
import { startAzion, type Azion, type AzionOptions } from '../support/azion.ts';
import { startGatewayProcess, type GatewayProcess } from '../support/gateway-process.ts';
import { bucketsOf, until } from '../support/setup.ts';

const TOKEN = 'token shared';
/** Long enough for a busy machine to start all calls of a test within one window. */
const PERIOD_MS = 20_000;
const LIMIT = 20;

interface Running {
  readonly azion: Azion;
  readonly gateway: GatewayProcess;
}

/** Starts the API and the program, as a child process, in front of it. */
async function run(api: AzionOptions, settings: Record<string, string>): Promise<Running> {
  const azion = await startAzion(api);
  onTestFinished(() => azion.close());
  const gateway = await startGatewayProcess({ upstream: azion.url, settings });
  onTestFinished(() => gateway.stop());
  return { azion, gateway };
}

const API: AzionOptions = {
  semantics: 'fixed',
  limits: { read: { limit: LIMIT, periodMs: PERIOD_MS } },
  dialect: { reset: 'delta-float' },
};

function get({ gateway }: Running, agent?: Agent): Promise<Answer> {
  return ask(`${gateway.url}/domains`, {
    headers: { authorization: TOKEN },
    ...(agent === undefined ? {} : { agent }),
  });
}

/** The ids of answers, sorted. Each call must have one answer and one log line. */
function ids(answers: readonly Answer[]): string[] {
  return answers.map(({ headers }) => String(headers['headgate-request-id'])).toSorted();
}

test('SIGTERM under load: calls that can finish in time do, others are shed, and all are logged', async () => {
  // The next window opens within the drain timeout, the one after it does not.
  const running = await run(API, { HEADGATE_DRAIN_TIMEOUT: '30s', HEADGATE_MAX_WAIT: '1h' });
  const { azion, gateway } = running;
  const agent = new Agent({ keepAlive: true, maxSockets: Infinity });
  onTestFinished(() => agent.destroy());
  const pending = askMany(LIMIT * 5, () => get(running, agent));
  await until('the first window is spent and the rest waits', async () => {
    const [bucket] = await bucketsOf(gateway);
    return bucket?.waiting === LIMIT * 4 && bucket.leases === 0;
  });
  gateway.kill('SIGTERM');
  const answers = await pending;
  const { code, signal } = await gateway.ended;
  expect({ code, signal, stderr: gateway.stderr }).toEqual({ code: 0, signal: null, stderr: '' });

  const served = answers.filter(({ status }) => status === 200);
  const shed = answers.filter(({ status }) => status === 503);
  expect(served).toHaveLength(LIMIT * 2);
  expect(shed).toHaveLength(LIMIT * 3);
  for (const { headers, complete } of shed) {
    expect(complete).toBe(true);
    expect(headers).toMatchObject({ 'headgate-error': 'draining', connection: 'close' });
    expect(headers['retry-after']).toMatch(/^[1-9]\d*$/);
  }
  expect(azion.throttled).toBe(0);
  expect(azion.operations).toBe(LIMIT * 2);
  const lines = gateway.log.named('call');
  expect(lines.map(({ id }) => String(id)).toSorted()).toEqual(ids(answers));
  expect(lines.filter(({ code }) => code === 'draining')).toHaveLength(LIMIT * 3);
  expect(gateway.log.named('stopped')).toMatchObject([{ inTime: true }]);
  expect(gateway.log.forged).toEqual([]);
});

test('while it drains the gateway is alive and not ready, and answers the calls in flight', async () => {
  const running = await run(API, { HEADGATE_DRAIN_TIMEOUT: '20s' });
  const { azion, gateway } = running;
  expect((await ask(`${gateway.adminUrl}/health/ready`)).status).toBe(200);
  azion.failNext('delay:1500');
  const slow = get(running);
  await until('the slow call is in flight', () => azion.seen.length === 1);
  gateway.kill('SIGTERM');
  await gateway.log.wait('draining', 1);
  const ready = await ask(`${gateway.adminUrl}/health/ready`);
  expect(ready.status).toBe(503);
  expect(JSON.parse(ready.text)).toMatchObject({ status: 'draining' });
  expect((await ask(`${gateway.adminUrl}/health/live`)).status).toBe(200);
  expect(await slow).toMatchObject({ status: 200, complete: true });
  expect((await gateway.ended).code).toBe(0);
});

test('calls that have no answer after the drain timeout are refused, and logged', async () => {
  const running = await run(API, { HEADGATE_DRAIN_TIMEOUT: '300ms' });
  const { azion, gateway } = running;
  azion.failNext('never-answer', 3);
  const pending = askMany(3, () => get(running));
  await until('a call is in flight', () => azion.seen.length > 0);
  gateway.kill('SIGTERM');
  const answers = await pending;
  for (const { status, complete } of answers) {
    expect([502, 503]).toContain(status);
    expect(complete).toBe(true);
  }
  expect((await gateway.ended).code).toBe(0);
  const lines = gateway.log.named('call');
  expect(lines.map(({ id }) => String(id)).toSorted()).toEqual(ids(answers));
  expect(gateway.log.named('stopped')).toMatchObject([{ inTime: false }]);
});

test.each([
  ['SIGINT', 'SIGTERM', 143],
  ['SIGTERM', 'SIGINT', 130],
] as const)('after %s, %s cuts the calls off and exits at once', async (first, second, code) => {
  const running = await run(API, { HEADGATE_DRAIN_TIMEOUT: '10m' });
  const { azion, gateway } = running;
  azion.failNext('never-answer');
  const refused = get(running).then(({ status }) => status);
  await until('the call is in flight', () => azion.seen.length === 1);
  gateway.kill(first);
  await gateway.log.wait('draining', 1);
  gateway.kill(second);
  expect(await gateway.ended).toEqual({ code, signal: null });
  expect(await refused).toBe(503);
  expect(gateway.log.named('call')).toMatchObject([{ status: 503, code: 'draining' }]);
});
