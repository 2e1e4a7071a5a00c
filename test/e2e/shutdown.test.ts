import { Agent } from 'node:http';
import { expect, onTestFinished, test } from 'vitest';
import { ask, askMany, type Answer } from '../support/ask.ts';
import { startAzion, type Azion } from '../support/azion.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { startGatewayProcess, type GatewayProcess } from '../support/gateway-process.ts';
import { bucketsOf, until } from '../support/setup.ts';

const TOKEN = 'token shared';
/** Of a budget that returns at each multiple of the period. */
const PERIOD_MS = 600_000;
const LIMIT = 20;

interface Running {
  readonly azion: Azion;
  readonly gateway: GatewayProcess;
  /** The API's, which stands still between the test's steps. */
  readonly clock: FakeClock;
}

/** Starts the API and the program, as a child process, in front of it. */
async function run(settings: Record<string, string>): Promise<Running> {
  const clock = new FakeClock();
  const azion = await startAzion({
    clock,
    semantics: 'aligned',
    limits: { read: { limit: LIMIT, periodMs: PERIOD_MS } },
    // The program has a clock of its own, with which the API's has nothing to do.
    dialect: { reset: 'delta-float' },
    dateHeader: false,
  });
  onTestFinished(() => azion.close());
  const gateway = await startGatewayProcess({ upstream: azion.url, settings });
  onTestFinished(() => gateway.stop());
  return { azion, gateway, clock };
}

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
  const running = await run({ HEADGATE_DRAIN_TIMEOUT: '5m', HEADGATE_MAX_WAIT: '2h' });
  const { azion, gateway, clock } = running;
  const agent = new Agent({ keepAlive: true, maxSockets: Infinity });
  onTestFinished(() => agent.destroy());
  // By the first answer, the gateway knows limit and period.
  const first = await get(running, agent);
  // The API holds the others of the window, which is about to end, until all calls are there: then
  // nothing depends on how long that takes.
  clock.advance(PERIOD_MS - 2000);
  azion.failNext('delay:3000', LIMIT - 1);
  const pending = askMany(LIMIT * 5 - 1, () => get(running, agent));
  await until('the rest of the window is spent, and the rest of the calls waits', async () => {
    const [bucket] = await bucketsOf(gateway);
    return azion.delayed === LIMIT - 1 && bucket?.waiting === LIMIT * 4;
  });
  // They report that the window ends in two seconds, and at the API it has ended.
  clock.advance(3000);
  await gateway.log.wait('call', LIMIT);
  gateway.kill('SIGTERM');
  const answers = [first, ...(await pending)];
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
  const running = await run({ HEADGATE_DRAIN_TIMEOUT: '5m' });
  const { azion, gateway, clock } = running;
  expect((await ask(`${gateway.adminUrl}/health/ready`)).status).toBe(200);
  azion.failNext('delay:1500');
  const slow = get(running);
  await until('the slow call is in flight', () => azion.delayed === 1);
  gateway.kill('SIGTERM');
  await gateway.log.wait('draining', 1);
  const ready = await ask(`${gateway.adminUrl}/health/ready`);
  expect(ready.status).toBe(503);
  expect(JSON.parse(ready.text)).toMatchObject({ status: 'draining' });
  expect((await ask(`${gateway.adminUrl}/health/live`)).status).toBe(200);
  clock.advance(1500);
  expect(await slow).toMatchObject({ status: 200, complete: true });
  expect((await gateway.ended).code).toBe(0);
});

test('calls that have no answer after the drain timeout are refused, and logged', async () => {
  const running = await run({ HEADGATE_DRAIN_TIMEOUT: '300ms' });
  const { azion, gateway } = running;
  azion.failNext('never-answer', 3);
  const pending = askMany(3, () => get(running));
  // A further one is sent in each second in which the first one has no answer.
  await until('a call is at the API, and each of the others is there or waits', async () => {
    const [bucket] = await bucketsOf(gateway);
    return azion.seen.length > 0 && azion.seen.length + (bucket?.waiting ?? 0) === 3;
  });
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
  const running = await run({ HEADGATE_DRAIN_TIMEOUT: '10m' });
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
