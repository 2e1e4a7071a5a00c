import { get } from 'node:http';
import { gzipSync } from 'node:zlib';
import { describe, expect, onTestFinished, test } from 'vitest';
import { setUpApi, untilWaiting } from '../http/setup.ts';
import type { Api } from '../support/api.ts';
import { ask } from '../support/ask.ts';
import { FakeClock } from '../support/fake-clock.ts';
import type { TestGateway } from '../support/gateway.ts';
import { advanceUntil, until } from '../support/setup.ts';

interface Refusal {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

const JSON_TYPE = { 'Content-Type': 'application/json' };
const AWS = '{"__type":"com.amazonaws.dynamodb#ThrottlingException","message":"Rate exceeded"}';
const GOOGLE =
  '{"error":{"errors":[{"domain":"usageLimits","reason":"userRateLimitExceeded"}],"code":403}}';

const IN_TWO_SECONDS = { 'Retry-After': '2' };
const NOTHING_LEFT = {
  'X-RateLimit-Limit': '60',
  'X-RateLimit-Remaining': '0',
  'X-RateLimit-Reset': '2',
};
const MUCH_LEFT = { ...NOTHING_LEFT, 'X-RateLimit-Remaining': '42' };

interface Scene {
  readonly api: Api;
  readonly clock: FakeClock;
  readonly gateway: TestGateway;
}

/** A gateway before an API that answers the first request with `refusal`, and each other with 200. */
async function setUp(
  { status, headers, body = '{}' }: Refusal,
  settings: Record<string, string> = {},
): Promise<Scene> {
  const clock = new FakeClock();
  let requests = 0;
  const { api, gateway } = await setUpApi(
    (incoming, outgoing) => {
      incoming.resume();
      outgoing.setHeaders(new Headers(requests++ === 0 ? headers : MUCH_LEFT));
      outgoing.statusCode = requests === 1 ? status : 200;
      outgoing.end(requests === 1 ? body : '{}');
    },
    { HEADGATE_PRESET: 'none', ...settings },
    { clock },
  );
  return { api, clock, gateway };
}

describe('an answer that throttles with another status than 429', () => {
  test.each<[string, Refusal]>([
    ['403 and a Retry-After', { status: 403, headers: { ...MUCH_LEFT, ...IN_TWO_SECONDS } }],
    ['403 with nothing left', { status: 403, headers: NOTHING_LEFT }],
    ['503 and a Retry-After', { status: 503, headers: IN_TWO_SECONDS }],
    ['529 and a Retry-After', { status: 529, headers: IN_TWO_SECONDS }],
    ['420 with nothing left', { status: 420, headers: NOTHING_LEFT }],
    ['418 and a Retry-After', { status: 418, headers: IN_TWO_SECONDS }],
    ['400 with nothing left', { status: 400, headers: NOTHING_LEFT }],
    ['400 and a code in the body', { status: 400, headers: JSON_TYPE, body: AWS }],
    ['403 and a code in the body', { status: 403, headers: JSON_TYPE, body: GOOGLE }],
    [
      '403 and a code in a compressed body',
      {
        status: 403,
        headers: { ...JSON_TYPE, 'Content-Encoding': 'gzip' },
        body: gzipSync(GOOGLE),
      },
    ],
    [
      '503 and a code in XML',
      {
        status: 503,
        headers: { 'Content-Type': 'application/xml' },
        body: '<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>',
      },
    ],
  ])('is not seen by the caller: %s', async (_name, refusal) => {
    const { api, clock, gateway } = await setUp(refusal);
    const pending = ask(`${gateway.url}/a`);
    await until('the API has refused it', () => gateway.log.count('throttled') === 1);
    expect(gateway.log.named('throttled')).toMatchObject([{ status: refusal.status }]);
    clock.advance(1000);
    expect(api.seen).toHaveLength(1);
    // It may need a canary's delay besides the wait.
    expect(await advanceUntil({ clock, gateway }, pending)).toMatchObject({ status: 200 });
    expect(api.seen).toHaveLength(2);
  });

  test.each<[string, Refusal, Record<string, string>]>([
    ['a missing permission', { status: 403, headers: MUCH_LEFT }, {}],
    ['a fault of the API', { status: 503, headers: {} }, {}],
    ['a bad request', { status: 400, headers: {} }, {}],
    [
      'a body that speaks of limits',
      {
        status: 403,
        headers: JSON_TYPE,
        body: '{"throttled":false,"code":"forbidden","message":"no access to rate limits"}',
      },
      {},
    ],
    [
      'a body that is no text',
      {
        status: 403,
        headers: { ...JSON_TYPE, 'Content-Encoding': 'gzip' },
        body: Buffer.from('no gzip'),
      },
      {},
    ],
    [
      'a code in the body, if the setting is off',
      { status: 400, headers: JSON_TYPE, body: AWS },
      { HEADGATE_THROTTLE_STATUSES: 'off' },
    ],
    [
      'a status that the setting does not list',
      { status: 403, headers: IN_TWO_SECONDS },
      { HEADGATE_THROTTLE_STATUSES: '503' },
    ],
    [
      'any status, if the setting is off',
      { status: 503, headers: IN_TWO_SECONDS },
      { HEADGATE_THROTTLE_STATUSES: 'off' },
    ],
  ])('is not one that has another meaning: %s', async (_name, refusal, settings) => {
    const { api, gateway } = await setUp(refusal, settings);
    expect(await ask(`${gateway.url}/a`)).toMatchObject({ status: refusal.status });
    expect(api.seen).toHaveLength(1);
    expect(gateway.log.count('throttled')).toBe(0);
  });

  test('reaches the caller soon if its body does not end', async () => {
    const clock = new FakeClock();
    const { gateway } = await setUpApi(
      (_incoming, outgoing) => {
        outgoing.writeHead(403, JSON_TYPE);
        outgoing.write('{"code":');
      },
      { HEADGATE_PRESET: 'none' },
      { clock },
    );
    const head = new Promise((resolve, reject) => {
      const request = get(`${gateway.url}/a`, { agent: false }, resolve);
      request.on('error', reject);
      onTestFinished(() => void request.destroy());
    });
    expect(await advanceUntil({ clock, gateway }, head)).toMatchObject({ statusCode: 403 });
  });

  test.each([503, 529])(
    'reaches the caller if it is a %d to a POST, which may have been executed',
    async (status) => {
      const { api, clock, gateway } = await setUp({ status, headers: IN_TWO_SECONDS });
      const refused = await ask(`${gateway.url}/a`, { method: 'POST', body: 'x' });
      expect(refused).toMatchObject({ status, headers: { 'retry-after': '2' } });
      expect(refused.headers['headgate-error']).toBeUndefined();
      // The budget waits all the same.
      const next = ask(`${gateway.url}/b`);
      await untilWaiting(gateway, 1);
      clock.advance(1000);
      expect(api.seen).toHaveLength(1);
      expect(await advanceUntil({ clock, gateway }, next)).toMatchObject({ status: 200 });
      expect(api.seen.map(({ url }) => url)).toEqual(['/a', '/b']);
    },
  );
});
