import { describe, expect, onTestFinished, test } from 'vitest';
import { startApi } from '../support/api.ts';
import { ask } from '../support/ask.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { startGateway } from '../support/gateway.ts';
import { advanceUntil, bucketsOf, until } from '../support/setup.ts';

/** What the API answers to one request. */
interface Scripted {
  readonly status?: number;
  readonly headers?: Record<string, string>;
}

/** An API that answers as `answerTo` says, with the number of the request from 1. */
async function startScripted(
  answerTo: (path: string, count: number) => Scripted,
  { file = '{}', settings = {} }: { file?: string; settings?: Record<string, string> } = {},
) {
  const clock = new FakeClock();
  const api = await startApi((incoming, outgoing) => {
    const { status = 200, headers = {} } = answerTo(incoming.url ?? '', api.seen.length);
    outgoing.writeHead(status, headers);
    outgoing.end('{}');
  });
  onTestFinished(() => api.close());
  const gateway = await startGateway({
    upstream: api.url,
    clock,
    settings: { HEADGATE_PRESET: 'none', HEADGATE_MAX_WAIT: '2h', ...settings },
    files: { 'headgate.yaml': file },
  });
  onTestFinished(() => gateway.stop());
  const send = (path: string): Promise<number> =>
    ask(`${gateway.url}${path}`).then(({ status }) => status);
  const bucket = async (end: string) =>
    (await bucketsOf(gateway)).find(({ id }) => id.endsWith(end));
  return { api, clock, gateway, send, bucket };
}

function named(name: string, limit: number, remaining: number): Record<string, string> {
  return {
    'X-RateLimit-Resource': name,
    'X-RateLimit-Limit': String(limit),
    'X-RateLimit-Remaining': String(remaining),
    'X-RateLimit-Reset-After': '60',
  };
}

describe('a bucket on which the request did not draw', () => {
  test('is that of its line in the log, once the answer showed it', async () => {
    const { gateway, send } = await startScripted((path) => ({
      headers: path === '/search' ? named('search', 5, 3) : named('core', 100, 90),
    }));
    await send('/zones');
    await send('/search');
    expect((await gateway.log.wait('call', 2))[1]).toMatchObject({
      bucket: expect.stringMatching(/:all~search$/),
      limit: 5,
    });
    const body = String((await ask(`${gateway.adminUrl}/metrics`)).body);
    expect(body).toMatch(/headgate_bucket_accepted_total\{bucket="[^"]*:all~search"[^}]*\} 1/);
    expect(body).toMatch(/headgate_bucket_accepted_total\{bucket="[^"]*:all"[^}]*\} 1/);
  });

  test('is named by the log when it refuses, and the request waits as long as the API says', async () => {
    const { api, clock, gateway, send } = await startScripted((path, count) => {
      if (path !== '/search') return { headers: named('core', 100, 90) };
      if (count > 2) return { headers: named('search', 5, 4) };
      return { status: 429, headers: { ...named('search', 5, 0), 'Retry-After': '60' } };
    });
    await send('/zones');
    const searched = send('/search');
    expect((await gateway.log.wait('throttled', 1))[0]).toMatchObject({
      bucket: expect.stringMatching(/:all~search$/),
      limit: 5,
      remaining: 0,
      scope: 'bucket',
    });
    clock.advance(59_000);
    await send('/zones');
    expect(api.seen.filter(({ url }) => url === '/search')).toHaveLength(1);
    clock.advance(2000);
    expect(await searched).toBe(200);
  });

  test('receives the report although it is the own bucket of the class', async () => {
    const { send, bucket } = await startScripted((path, count) => ({
      headers:
        path === '/search' && count < 3 ? named('search', 5, 4) : named('core', 100, 100 - count),
    }));
    await send('/zones');
    await send('/search');
    await send('/search');
    expect(await bucket(':all')).toMatchObject({ remaining: 97 });
  });
});

describe('stated limits', () => {
  test('over the classes are not held by requests that wait for the budget of their class', async () => {
    const { clock, gateway, send, bucket } = await startScripted(
      (path, count) => ({
        headers: path === '/search' && count < 4 ? named('search', 5, 0) : named('core', 100, 90),
      }),
      { file: 'limits: [{ name: global, limit: 3/1s, scope: credential }]' },
    );
    await send('/zones');
    await send('/search');
    clock.advance(2000);
    const waiting = [send('/search'), send('/search'), send('/search')];
    await until('they wait', async () => (await bucket('~search'))?.waiting === 3);
    expect(await bucket(':global')).toMatchObject({ leases: 0, remaining: 3 });
    expect(await send('/zones')).toBe(200);
    await advanceUntil({ clock, gateway }, Promise.all(waiting));
  });

  test('take the reports of an API where they are the only ones, whatever their size', async () => {
    const { send, bucket } = await startScripted(
      () => ({
        headers: {
          'X-RateLimit-Limit': '90',
          'X-RateLimit-Remaining': '50',
          'X-RateLimit-Reset-After': '60',
        },
      }),
      { file: 'classes: [{ name: all, path: /**, limits: [{ name: mine, limit: 200/1h }] }]' },
    );
    await send('/zones');
    expect(await bucket(':all/mine')).toMatchObject({ limit: 90, remaining: 50 });
  });
});

test('answers whose header states a cost of more than one teach no buckets by their numbers', async () => {
  let remaining = 10_000;
  const { gateway, send } = await startScripted(
    (path) => {
      const cost = path === '/dear' ? 7 : 1;
      remaining -= cost;
      return {
        headers: {
          'X-RateLimit-Limit': path === '/dear' ? '9000' : '10000',
          'X-RateLimit-Remaining': String(remaining),
          'X-RateLimit-Reset-After': '60',
          'X-Cost': String(cost),
        },
      };
    },
    { file: 'classes: [{ name: all, path: /**, settleCost: { header: x-cost } }]' },
  );
  for (let at = 0; at < 40; at++) await send(at % 2 === 0 ? '/dear' : '/cheap');
  const ids = (await bucketsOf(gateway)).map(({ id }) => id);
  expect(ids).toEqual([expect.stringMatching(/:all$/)]);
});

test('a secret part of a path is in no bucket, route, metric or line of the log', async () => {
  let refused = 0;
  const { clock, gateway, send, bucket } = await startScripted(
    (path) =>
      path.startsWith('/tokens') && refused++ === 0
        ? { status: 429, headers: { 'Retry-After': '60' } }
        : {},
    { file: 'pathMasks: [/tokens/*]' },
  );
  await send('/zones');
  const sent = send('/tokens/very-secret');
  await gateway.log.wait('throttled', 1);
  clock.advance(61_000);
  expect(await sent).toBe(200);
  const shown = await Promise.all(
    ['/buckets', '/metrics'].map(async (path) => {
      return String((await ask(`${gateway.adminUrl}${path}`)).body);
    }),
  );
  expect(await bucket('all')).toBeDefined();
  expect(shown[0]).toContain('GET /tokens/');
  for (const text of [...shown, JSON.stringify(gateway.log.lines)]) {
    expect(text).not.toContain('very-secret');
  }
});
