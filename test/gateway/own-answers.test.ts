import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { retryAfterSeconds } from '../../src/gateway/problem.ts';
import { startApi } from '../support/api.ts';
import { ask, type Answer } from '../support/ask.ts';
import { startGateway } from '../support/gateway.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { bucketsOf, setUp, until } from '../support/setup.ts';

const AUTHORIZATION = 'token secret-of-the-test';
const headers = { authorization: AUTHORIZATION };

interface Problem {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly code: string;
  readonly requestId: string;
  readonly retryAfter?: number;
}

/** What every answer of Headgate itself has. */
function expectProblem(answer: Answer, status: number, code: string): Problem {
  expect(answer.status).toBe(status);
  expect(answer.headers).toMatchObject({
    'content-type': 'application/problem+json',
    'content-length': String(answer.body.length),
    'headgate-error': code,
    'cache-control': 'no-store',
    'proxy-status': expect.stringMatching(/^headgate; error=[a-z_]+$/),
  });
  expect(String(answer.headers['server-timing'])).toMatch(
    /^queue;dur=\d+\.\d, upstream;dur=\d+\.\d(?:, retry;dur=\d+\.\d)?$/,
  );
  const problem: Problem = JSON.parse(answer.text);
  expect(problem).toMatchObject({ status, code });
  expect(problem.requestId).toBe(answer.headers['headgate-request-id']);
  expect(problem.detail.length).toBeGreaterThan(10);
  return problem;
}

/** A shed answer has a Retry-After in whole seconds, as clients read it. */
function expectRetryAfter(answer: Answer, problem: Problem): void {
  expect(answer.headers['retry-after']).toMatch(/^[1-9]\d*$/);
  expect(problem.retryAfter).toBe(Number(answer.headers['retry-after']));
}

describe('Headgate answers with', () => {
  test('forbidden-target, when the request is for another host', async () => {
    const { azion, gateway } = await setUp();
    const { host } = new URL(gateway.url);
    const raw = await exchange(
      gateway.url,
      `GET http://other.example/domains HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
    );
    expect(raw).toMatch(/^HTTP\/1\.1 403 /);
    expect(raw).toMatch(/^headgate-error: forbidden-target\r$/im);
    expect(azion.seen).toEqual([]);
    const [line] = await gateway.log.wait('call', 1);
    expect(line).toMatchObject({ status: 403, outcome: 'failed', code: 'forbidden-target' });
  });

  test('method-not-supported, for CONNECT', async () => {
    const { gateway } = await setUp();
    const raw = await exchange(
      gateway.url,
      'CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n\r\n',
    );
    expect(raw).toMatch(/^HTTP\/1\.1 501 /);
    expect(raw).toMatch(/^headgate-error: method-not-supported\r$/im);
    const [line] = await gateway.log.wait('call', 1);
    expect(line).toMatchObject({ status: 501, method: 'CONNECT', code: 'method-not-supported' });
  });

  test('bad-request, for bytes that are not HTTP', async () => {
    const { gateway } = await setUp();
    const raw = await exchange(gateway.url, 'EHLO mail.example\r\n\r\n');
    expect(raw).toMatch(/^HTTP\/1\.1 400 /);
    expect(raw).toMatch(/^headgate-error: bad-request\r$/im);
    const [line] = await gateway.log.wait('call', 1);
    expect(line).toMatchObject({ status: 400, outcome: 'failed', code: 'bad-request' });
  });

  test('wait-too-long, when the budget refills after the deadline', async () => {
    const limits = { read: { limit: 1, periodMs: 60_000 } };
    const settings = { HEADGATE_MAX_WAIT: '1s' };
    const clock = new FakeClock();
    const { gateway } = await setUp({ semantics: 'fixed', limits }, { settings, clock });
    await ask(`${gateway.url}/domains`, { headers });
    const answer = await ask(`${gateway.url}/domains`, { headers });
    const problem = expectProblem(answer, 503, 'wait-too-long');
    expectRetryAfter(answer, problem);
    // The API's window, plus at most one second of doubt about its clock.
    expect(problem.retryAfter).toBeGreaterThanOrEqual(55);
    expect(problem.retryAfter).toBeLessThanOrEqual(61);
  });

  test('queue-full, for the last request of the caller with the most waiting requests', async () => {
    const limits = { read: { limit: 1, periodMs: 60_000 } };
    const settings = { HEADGATE_MAX_QUEUE: '3', HEADGATE_MAX_WAIT: '1h' };
    const { gateway } = await setUp({ semantics: 'fixed', limits }, { settings });
    await ask(`${gateway.url}/domains`, { headers });
    const send = (caller: string): Promise<Answer> =>
      ask(`${gateway.url}/domains`, { headers: { ...headers, 'headgate-caller': caller } });
    const waiting = async (): Promise<number> => (await bucketsOf(gateway))[0]?.waiting ?? 0;
    const hog: Promise<Answer>[] = [];
    for (let i = 1; i <= 3; i++) {
      hog.push(send('hog'));
      await until(`${i} wait`, async () => (await waiting()) === i);
    }
    const guest = send('guest');
    const answer = await hog[2];
    if (answer === undefined) throw new Error('three were sent');
    expectRetryAfter(answer, expectProblem(answer, 503, 'queue-full'));
    expect((await bucketsOf(gateway))[0]).toMatchObject({
      waiting: 3,
      waitingHereByCaller: { hog: 2, guest: 1 },
    });
    const [, line] = await gateway.log.wait('call', 2);
    expect(line).toMatchObject({ caller: 'hog', outcome: 'shed', code: 'queue-full' });
    await gateway.stop();
    const drained = [await guest, await hog[0], await hog[1]];
    for (const one of drained) {
      if (one !== undefined) expectRetryAfter(one, expectProblem(one, 503, 'draining'));
    }
  });

  test('too-many-buckets, for a new credential while all buckets are in use', async () => {
    const held: ServerResponse[] = [];
    const api = await startApi((_incoming, outgoing) => held.push(outgoing));
    onTestFinished(() => api.close());
    const settings = { HEADGATE_PRESET: 'none', HEADGATE_MAX_BUCKETS: '2' };
    const gateway = await startGateway({ upstream: api.url, settings });
    onTestFinished(() => gateway.stop());
    const send = (token: string): Promise<Answer> =>
      ask(`${gateway.url}/a`, { headers: { authorization: `token ${token}` } });
    const first = send('first');
    await until('the API has one', () => held.length === 1);
    const second = send('second');
    await until('the API has two', () => held.length === 2);
    const answer = await send('invented');
    expectRetryAfter(answer, expectProblem(answer, 503, 'too-many-buckets'));
    const line = await gateway.log.first('call');
    expect(line).toMatchObject({ status: 503, outcome: 'shed', code: 'too-many-buckets' });
    for (const outgoing of held) outgoing.end();
    expect([(await first).status, (await second).status]).toEqual([200, 200]);
    const next = send('next');
    await until('the API has three', () => held.length === 3);
    held.at(-1)?.end();
    expect((await next).status).toBe(200);
    expect(await bucketsOf(gateway)).toHaveLength(2);
  });

  test('too-many-buckets-of-owner, for a new credential from an address that uses many', async () => {
    const held: ServerResponse[] = [];
    const api = await startApi((_incoming, outgoing) => held.push(outgoing));
    onTestFinished(() => api.close());
    const settings = { HEADGATE_PRESET: 'none', HEADGATE_MAX_BUCKETS_PER_OWNER: '1' };
    const gateway = await startGateway({ upstream: api.url, settings });
    onTestFinished(() => gateway.stop());
    const send = (token: string, from = '127.0.0.1'): Promise<Answer> =>
      ask(`${gateway.url}/a`, { headers: { authorization: `token ${token}` }, from });
    const first = send('first');
    await until('the API has one', () => held.length === 1);
    const answer = await send('second');
    expectRetryAfter(answer, expectProblem(answer, 503, 'too-many-buckets-of-owner'));
    const line = await gateway.log.first('call');
    expect(line).toMatchObject({ outcome: 'shed', code: 'too-many-buckets-of-owner' });
    const other = send('second', '127.0.0.2');
    await until('the API has two', () => held.length === 2);
    for (const outgoing of held) outgoing.end();
    expect([(await first).status, (await other).status]).toEqual([200, 200]);
  });

  test('internal, for a failure of its own: the log has the stack, and the answer does not', async () => {
    const random = (): number => {
      throw new Error('no random number');
    };
    const { azion, gateway } = await setUp({}, { random });
    azion.failNext('reset-before-read');
    const answer = await ask(`${gateway.url}/domains`, { headers });
    const problem = expectProblem(answer, 500, 'internal');
    expect(problem.detail).not.toContain('no random number');
    const [line] = await gateway.log.wait('call', 1);
    expect(line).toMatchObject({ status: 500, outcome: 'failed', code: 'internal' });
    expect(gateway.log.named('internal failure')).toMatchObject([
      { level: 'error', id: problem.requestId, err: { message: 'no random number' } },
    ]);
    // The lease was settled: the next call is served.
    expect((await ask(`${gateway.url}/domains`, { headers })).status).toBe(200);
    expect((await bucketsOf(gateway))[0]).toMatchObject({ leases: 0, waiting: 0 });
  });
});

test('a failure while an answer is judged leaves neither a lease nor a socket behind', async () => {
  let isBroken = true;
  const random = (): number => {
    if (isBroken) throw new Error('no random number');
    return 0.5;
  };
  const settings = { HEADGATE_UPSTREAM_CONNECTIONS: '1' };
  const { azion, gateway } = await setUp({}, { random, settings });
  azion.failNext('throttle-bare');
  expectProblem(await ask(`${gateway.url}/domains`, { headers }), 500, 'internal');
  isBroken = false;
  expect((await bucketsOf(gateway))[0]).toMatchObject({ leases: 0, waiting: 0 });
  // It needs the only socket.
  expect((await ask(`${gateway.url}/domains`, { headers })).status).toBe(200);
});

test.each([
  [0, 1],
  [1, 1],
  [1000, 1],
  [1001, 2],
  // (1234.567 + 7000) - 1234.567, and the like.
  [7000.000000000001, 7],
  [6999.999999999999, 7],
])('a wait of %d ms becomes a Retry-After of %d', (waitMs, seconds) => {
  expect(retryAfterSeconds(waitMs)).toBe(seconds);
});

test("the API's own answers are passed on unchanged", async () => {
  const { azion, gateway } = await setUp({ forbidden: ['token forbidden'] });
  const answers = [
    await ask(`${gateway.url}/nothing-here`, { headers }),
    await ask(`${gateway.url}/domains`),
    await ask(`${gateway.url}/domains`, { headers: { authorization: 'token forbidden' } }),
    await ask(`${gateway.url}/purge/url`, { method: 'DELETE', headers }),
    await ask(`${gateway.url}/domains?page=0`, { headers }),
    await ask(`${gateway.url}/domains`, { method: 'POST', headers, body: '{"name":"a"}' }),
    await ask(`${gateway.url}/domains`, { method: 'POST', headers, body: '{"name":"a"}' }),
    await ask(`${gateway.url}/domains/3`, { method: 'DELETE', headers }),
    await ask(`${gateway.url}/purge/url`, { method: 'POST', headers, body: '{"urls":["a.b/c"]}' }),
  ];
  expect(answers.map(({ status }) => status)).toEqual([
    404, 401, 403, 405, 400, 201, 409, 204, 207,
  ]);
  for (const answer of answers) {
    expect(answer.headers['headgate-error']).toBeUndefined();
    expect(answer.headers['headgate-request-id']).toMatch(/^[0-9a-f-]{36}$/);
  }
  expect(azion.seen).toHaveLength(answers.length);
  const lines = await gateway.log.wait('call', answers.length);
  expect(lines.map(({ outcome }) => outcome)).toEqual(answers.map(() => 'answered'));
});

/** Sends bytes and resolves to everything that was received until the connection closed. */
function exchange(url: string, bytes: string): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => socket.write(bytes));
    let received = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => (received += chunk));
    socket.on('error', reject);
    socket.on('close', () => resolve(received));
  });
}
