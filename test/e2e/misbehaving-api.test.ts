import type { OutgoingHttpHeaders } from 'node:http';
import { describe, expect, onTestFinished, test } from 'vitest';
import { ask, type Answer, type AskOptions } from '../support/ask.ts';
import type { AzionOptions } from '../support/azion.ts';
import type { LogLine } from '../support/captured-log.ts';
import { startGateway } from '../support/gateway.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { bucketsOf, setUp, until, type BucketLine, type Setup } from '../support/setup.ts';
import { passTimeLimits, TIME_LIMIT } from '../support/undici-time.ts';

const TOKEN = 'token shared';
const API: AzionOptions = { semantics: 'fixed', dialect: { reset: 'delta-float' } };

interface Options extends AskOptions {
  readonly headers?: OutgoingHttpHeaders;
}

interface Outcome {
  readonly answer: Answer;
  /** The log line of the call. */
  readonly line: LogLine;
  /** The warnings so far, in order. */
  readonly warnings: readonly LogLine[];
}

function call({ gateway }: Setup, options: Options = {}): Promise<Answer> {
  const url = `${gateway.url}/domains?page=1`;
  return ask(url, { ...options, headers: { authorization: TOKEN, ...options.headers } });
}

const POST: Options = { method: 'POST', body: '{"name":"new"}' };

/** Sends one call that meets the fault. */
async function meet(setup: Setup, fault: string, options: Options = {}): Promise<Outcome> {
  const { azion, gateway } = setup;
  const before = gateway.log.named('call').length;
  azion.failNext(fault);
  const answer = await call(setup, options);
  const lines = await gateway.log.wait('call', before + 1);
  const warnings = gateway.log.lines.filter(({ level }) => level === 'warn');
  return { answer, line: lines[before] ?? {}, warnings };
}

/** Checks that the next call is served, and that the bucket then agrees with the API. */
async function expectRecovered(setup: Setup, options: Options = {}): Promise<BucketLine> {
  const lines = setup.gateway.log.named('call').length;
  const answer = await call(setup, options);
  expect(answer.status).toBeLessThan(300);
  const [latest] = (await setup.gateway.log.wait('call', lines + 1)).slice(-1);
  const buckets = await bucketsOf(setup.gateway);
  const bucket = buckets.find(({ id }) => id === latest?.['bucket']);
  if (bucket === undefined) throw new Error('there is no such bucket');
  expect(bucket).toMatchObject({
    limit: Number(answer.headers['x-ratelimit-limit']),
    remaining: Number(answer.headers['x-ratelimit-remaining']),
    leases: 0,
    waiting: 0,
  });
  expect(bucket.blockedForMs).toBeUndefined();
  return bucket;
}

describe('when the connection breaks', () => {
  test.each(['reset-before-read', 'reset-after-read'])(
    '(%s) a GET is retried, and its caller gets the answer',
    async (fault) => {
      const setup = await setUp(API);
      const { answer, line, warnings } = await meet(setup, fault);
      expect(answer).toMatchObject({ status: 200, complete: true });
      expect(line).toMatchObject({ status: 200, outcome: 'answered', attempts: 2 });
      expect(warnings).toMatchObject([{ msg: 'attempt failed', sent: 'lost', reason: 'reset' }]);
      await expectRecovered(setup);
    },
  );

  test.each(['reset-before-read', 'reset-after-read'])(
    '(%s) a POST is not retried, and its caller learns that it may have been executed',
    async (fault) => {
      const setup = await setUp(API);
      const { answer, line } = await meet(setup, fault, POST);
      expect(answer.status).toBe(502);
      expect(answer.headers['headgate-error']).toBe('upstream-unreachable');
      expect(answer.text).toContain('may have executed');
      expect(line).toMatchObject({
        status: 502,
        outcome: 'failed',
        code: 'upstream-unreachable',
        attempts: 1,
      });
      expect(setup.azion.seen).toHaveLength(1);
      await expectRecovered(setup, { ...POST, body: '{"name":"another"}' });
    },
  );

  test('at each attempt, a GET fails after the configured number of retries', async () => {
    const setup = await setUp(API, { settings: { HEADGATE_RETRIES: '1' } });
    const headers = { authorization: TOKEN, 'x-sim-fault': 'reset-before-read' };
    const answer = await call(setup, { headers });
    expect(answer.status).toBe(502);
    const [line] = await setup.gateway.log.wait('call', 1);
    expect(line).toMatchObject({ code: 'upstream-unreachable', attempts: 2 });
    // The back-off is no wait in the queue.
    expect(Number(line?.['retryMs'])).toBeGreaterThan(0);
    expect(answer.headers['server-timing']).toMatch(/, retry;dur=\d/);
    await expectRecovered(setup);
  });

  test('because no server listens, a POST is retried: the API received nothing', async () => {
    // A port that was free a moment ago may be another process's by now.
    const gateway = await startGateway({ upstream: 'http://127.0.0.1:9' });
    onTestFinished(() => gateway.stop());
    const answer = await ask(`${gateway.url}/domains`, POST);
    expect(answer.status).toBe(502);
    expect(answer.headers['headgate-error']).toBe('upstream-unreachable');
    expect(answer.text).toContain('it saw no request');
    const [line] = await gateway.log.wait('call', 1);
    expect(line).toMatchObject({ status: 502, code: 'upstream-unreachable', attempts: 3 });
    expect(gateway.log.named('attempt failed')).toMatchObject([
      { sent: 'unsent', reason: 'unreachable' },
      { sent: 'unsent', reason: 'unreachable' },
      { sent: 'unsent', reason: 'unreachable' },
    ]);
    const [bucket] = await bucketsOf(gateway);
    expect(bucket).toMatchObject({ leases: 0, waiting: 0 });
  });
});

describe('when the API does not answer in time', () => {
  const settings = { HEADGATE_UPSTREAM_TIMEOUT: TIME_LIMIT, HEADGATE_RETRIES: '0' };

  /** Sends one call that meets the fault, and lets the time limit pass once the API has counted it. */
  async function meetTooLate(setup: Setup, fault: string): Promise<Outcome> {
    const { azion, gateway } = setup;
    const { length } = azion.seen;
    const failures = gateway.log.count('attempt failed');
    let hasEnded = false;
    const met = meet(setup, fault).finally(() => (hasEnded = true));
    await until('the API has the call', () => azion.seen.length > length);
    if (fault === 'stall-body') {
      await until('the head of the answer has arrived', async () => {
        const [bucket] = await bucketsOf(gateway);
        return bucket?.limit !== undefined && bucket.leases === 0;
      });
    }
    await until('the limit has passed', () => {
      if (hasEnded || gateway.log.count('attempt failed') > failures) return true;
      passTimeLimits();
      return false;
    });
    return met;
  }

  test('a slow answer within the timeout is passed on', async () => {
    const setup = await setUp(API);
    const { answer, line, warnings } = await meet(setup, 'delay:150');
    expect(answer).toMatchObject({ status: 200, complete: true });
    expect(line).toMatchObject({ outcome: 'answered', attempts: 1 });
    expect(line['upstreamMs']).toBeGreaterThanOrEqual(145);
    expect(warnings).toEqual([]);
    await expectRecovered(setup);
  });

  test('the caller gets a 504, and the slot counts as spent', async () => {
    const setup = await setUp(API, { settings });
    await expectRecovered(setup);
    const { answer, line, warnings } = await meetTooLate(setup, 'never-answer');
    expect(answer.status).toBe(504);
    expect(answer.headers['headgate-error']).toBe('upstream-timeout');
    expect(line).toMatchObject({ status: 504, outcome: 'failed', code: 'upstream-timeout' });
    expect(warnings).toMatchObject([{ msg: 'attempt failed', sent: 'lost', reason: 'timeout' }]);
    const [bucket] = await bucketsOf(setup.gateway);
    expect(bucket).toMatchObject({ limit: 80, remaining: 78, leases: 0 });
    await expectRecovered(setup);
  });

  test('a GET is retried while it has attempts left', async () => {
    const setup = await setUp(API, { settings: { ...settings, HEADGATE_RETRIES: '1' } });
    const { answer, line } = await meetTooLate(setup, 'never-answer');
    expect(answer.status).toBe(200);
    expect(line).toMatchObject({ outcome: 'answered', attempts: 2 });
    await expectRecovered(setup);
  });

  test('a body that stalls ends as an incomplete answer', async () => {
    const setup = await setUp(API, { settings });
    const { answer, line } = await meetTooLate(setup, 'stall-body');
    expect(answer).toMatchObject({ status: 200, complete: false });
    expect(line).toMatchObject({ status: 200, outcome: 'failed', code: 'upstream-timeout' });
    await expectRecovered(setup);
  });
});

describe('when the answer is broken', () => {
  test.each(['truncate', 'truncate-chunked'])(
    '(%s) the caller receives it as incomplete',
    async (fault) => {
      const setup = await setUp(API);
      const { answer, line } = await meet(setup, fault);
      expect(answer).toMatchObject({ status: 200, complete: false });
      expect(line).toMatchObject({ status: 200, outcome: 'failed', code: 'upstream-protocol' });
      await expectRecovered(setup);
    },
  );

  test.each(['not-http', 'bad-head'])('(%s) the caller gets a 502', async (fault) => {
    const setup = await setUp(API);
    const { answer, line, warnings } = await meet(setup, fault, POST);
    expect(answer.status).toBe(502);
    expect(answer.headers['headgate-error']).toBe('upstream-protocol');
    expect(line).toMatchObject({ status: 502, outcome: 'failed', code: 'upstream-protocol' });
    expect(warnings).toMatchObject([{ msg: 'attempt failed', sent: 'lost', reason: 'protocol' }]);
    await expectRecovered(setup, { ...POST, body: '{"name":"another"}' });
  });

  test('an answer in many small pieces arrives complete', async () => {
    const setup = await setUp(API);
    const whole = await call(setup);
    const { answer, line } = await meet(setup, 'slow-chunks');
    expect(answer).toMatchObject({ status: 200, complete: true, text: whole.text });
    expect(line).toMatchObject({ outcome: 'answered', bytesOut: whole.body.length });
    await expectRecovered(setup);
  });
});

describe('when the rate headers are wrong', () => {
  test('invalid ones pass unchanged, cause a warning, and do not change the bucket', async () => {
    const setup = await setUp(API);
    await expectRecovered(setup);
    const { answer, line, warnings } = await meet(setup, 'garbage-rates');
    expect(answer.status).toBe(200);
    expect(answer.headers).toMatchObject({
      'x-ratelimit-limit': 'many',
      'x-ratelimit-remaining': '-3',
      'x-ratelimit-reset': 'soon',
    });
    expect(line).toMatchObject({ outcome: 'answered', limit: 80, remaining: 78 });
    expect(warnings).toMatchObject([
      {
        msg: 'doubtful rate headers',
        headers: ['x-ratelimit-limit', 'x-ratelimit-remaining', 'x-ratelimit-reset'],
        answers: 1,
      },
    ]);
    await expectRecovered(setup);
  });

  test('invalid ones cause one warning a minute, with their number', async () => {
    const clock = new FakeClock();
    const setup = await setUp(API, { clock });
    for (let i = 0; i < 3; i++) await meet(setup, 'garbage-rates');
    clock.advance(60_000);
    const { warnings } = await meet(setup, 'garbage-rates');
    expect(warnings).toMatchObject([{ answers: 1 }, { answers: 3 }]);
  });

  const small: AzionOptions = {
    semantics: 'fixed',
    limits: { read: { limit: 3, periodMs: 60_000 } },
  };

  test.each(['reset-in-an-hour', 'reset-in-the-past', 'reset-zero'])(
    '(%s) one false reset costs no call more than its own window',
    async (fault) => {
      const clock = new FakeClock();
      const setup = await setUp(small, { clock });
      const { answer, line } = await meet(setup, fault);
      expect(answer.status).toBe(200);
      expect(line).toMatchObject({ outcome: 'answered', attempts: 1 });
      const rest = [await call(setup), await call(setup)];
      expect(rest.map(({ status }) => status)).toEqual([200, 200]);
      const waiting = call(setup);
      await until('it waits', async () => (await bucketsOf(setup.gateway))[0]?.waiting === 1);
      clock.advance(62_000);
      expect((await waiting).status).toBe(200);
      expect(setup.azion.throttled).toBe(0);
      await expectRecovered(setup);
    },
  );

  test('an API that first reports "nothing until tomorrow" gets another request after a minute', async () => {
    const clock = new FakeClock();
    const setup = await setUp(small, { clock });
    const { answer } = await meet(setup, 'empty-for-a-day');
    expect(answer.status).toBe(200);
    const shed = await call(setup);
    expect(shed.status).toBe(503);
    expect(shed.headers['headgate-error']).toBe('wait-too-long');
    clock.advance(61_000);
    await expectRecovered(setup);
  });

  test("an answer from a cache does not change the API's budget", async () => {
    const setup = await setUp(API);
    await expectRecovered(setup);
    const { answer, line } = await meet(setup, 'cached');
    expect(answer.status).toBe(200);
    expect(answer.headers).toMatchObject({ age: '30', 'x-ratelimit-remaining': '0' });
    expect(line).toMatchObject({ outcome: 'answered', limit: 80 });
    await expectRecovered(setup);
  });

  test('an API that sends none gets a slow start until it does', async () => {
    const setup = await setUp(API);
    const { answer, line } = await meet(setup, 'no-rates');
    expect(answer.status).toBe(200);
    expect(line).not.toHaveProperty('limit');
    await expectRecovered(setup);
  });
});

describe('when the API refuses', () => {
  test('a 429 for the budget causes a wait and a warning, and no caller sees it', async () => {
    const clock = new FakeClock();
    const setup = await setUp(
      { ...API, limits: { read: { limit: 3, periodMs: 60_000 } } },
      { clock },
    );
    await call(setup);
    setup.azion.consume(TOKEN, 'read', 2);
    const waiting = call(setup);
    await until('the API throttled', () => setup.azion.throttled === 1);
    await until('it waits', async () => (await bucketsOf(setup.gateway))[0]?.waiting === 1);
    const [bucket] = await bucketsOf(setup.gateway);
    expect(bucket).toMatchObject({ remaining: 0, waiting: 1 });
    expect(bucket?.blockedForMs).toBeGreaterThan(50_000);
    clock.advance(61_000);
    expect((await waiting).status).toBe(200);
    const [, line] = await setup.gateway.log.wait('call', 2);
    expect(line).toMatchObject({ status: 200, outcome: 'answered', attempts: 2 });
    expect(setup.gateway.log.named('throttled')).toMatchObject([
      { level: 'warn', attempt: 1, scope: 'bucket', class: 'read', limit: 3, remaining: 0 },
    ]);
    await expectRecovered(setup);
  });

  test('a 429 without headers is retried after a moment', async () => {
    const setup = await setUp(API);
    const { answer, line, warnings } = await meet(setup, 'throttle-bare');
    expect(answer.status).toBe(200);
    expect(line).toMatchObject({ outcome: 'answered', attempts: 2 });
    expect(warnings).toMatchObject([{ msg: 'throttled', scope: 'bucket' }]);
    await expectRecovered(setup);
  });

  test('a 429 for one route delays that request and no other', async () => {
    const clock = new FakeClock();
    const setup = await setUp(API, { clock });
    await call(setup);
    setup.azion.failNext('throttle-route:30');
    const held = call(setup);
    await setup.gateway.log.wait('throttled', 1);
    await until('it waits', async () => (await bucketsOf(setup.gateway))[0]?.waiting === 1);
    const other = await call(setup);
    expect(other.status).toBe(200);
    expect((await bucketsOf(setup.gateway))[0]).toMatchObject({ waiting: 1, leases: 0 });
    clock.advance(31_000);
    expect((await held).status).toBe(200);
    expect(setup.gateway.log.named('throttled')).toMatchObject([
      { scope: 'request', remaining: 50, retryAfterMs: 30_000 },
    ]);
    await expectRecovered(setup);
  });

  test('a 429 to a request whose body is too large to keep becomes a 503 with a Retry-After', async () => {
    const setup = await setUp(API, { settings: { HEADGATE_BODY_LIMIT: '1KiB' } });
    const body = JSON.stringify({ name: 'large', filler: 'x'.repeat(4096) });
    const { answer, line } = await meet(setup, 'throttle-route:7', { ...POST, body });
    expect(answer.status).toBe(503);
    expect(answer.headers).toMatchObject({
      'headgate-error': 'not-replayable',
      'retry-after': '7',
    });
    expect(line).toMatchObject({ status: 503, outcome: 'shed', code: 'not-replayable' });
    await expectRecovered(setup, { ...POST, body });
  });

  test("an edge's 502 passes unchanged, and opens no bucket", async () => {
    const setup = await setUp(API);
    const { answer, line } = await meet(setup, 'edge-502');
    expect(answer.status).toBe(502);
    expect(answer.headers['headgate-error']).toBeUndefined();
    expect(answer.text).toContain('<html>');
    expect(line).toMatchObject({ status: 502, outcome: 'answered', attempts: 1 });
    expect(line).not.toHaveProperty('limit');
    await expectRecovered(setup);
  });

  test('a 500 of the API passes unchanged, and its rate headers count', async () => {
    const setup = await setUp(API);
    const { answer, line } = await meet(setup, 'error-500');
    expect(answer.status).toBe(500);
    expect(answer.headers['headgate-error']).toBeUndefined();
    expect(line).toMatchObject({ status: 500, outcome: 'answered', limit: 80, remaining: 79 });
    await expectRecovered(setup);
  });
});

describe('unusual answers', () => {
  test('interim answers pass', async () => {
    const setup = await setUp(API);
    const hints = await meet(setup, 'early-hints');
    expect(hints.answer.early).toMatchObject([
      { status: 103, headers: { link: '</style.css>; rel=preload; as=style' } },
    ]);
    const processing = await meet(setup, 'processing');
    expect(processing.answer).toMatchObject({ status: 200, early: [{ status: 102 }] });
    expect(processing.line).toMatchObject({ status: 200, outcome: 'answered' });
    await expectRecovered(setup);
  });

  test('a compressed body passes unchanged', async () => {
    const setup = await setUp(API);
    const { answer } = await meet(setup, 'gzip');
    expect(answer.headers['content-encoding']).toBe('gzip');
    expect([...answer.body.subarray(0, 2)]).toEqual([0x1f, 0x8b]);
    await expectRecovered(setup);
  });

  test('trailers pass', async () => {
    const setup = await setUp(API);
    const { answer } = await meet(setup, 'trailers');
    expect(answer).toMatchObject({ complete: true, trailers: { 'x-checksum': 'abc' } });
    await expectRecovered(setup);
  });
});
