import { describe, expect, onTestFinished, test } from 'vitest';
import { ask, type Answer } from './support/ask.ts';
import { startAzion, type Azion, type AzionOptions } from './support/azion.ts';
import { FakeClock } from './support/fake-clock.ts';

async function setUp(options: AzionOptions = {}): Promise<Azion> {
  const azion = await startAzion(options);
  onTestFinished(() => azion.close());
  return azion;
}

const TOKEN = { authorization: 'Token a' };

function send(azion: Azion, method: string, path: string, fields?: unknown): Promise<Answer> {
  const body = fields === undefined ? {} : { body: JSON.stringify(fields) };
  return ask(`${azion.url}${path}`, { method, headers: TOKEN, ...body });
}

describe('version 4 of the API, as its simulator has it below /v4', () => {
  test('lists with count and pages, expects no version in Accept, and links nowhere', async () => {
    const azion = await setUp();
    const { status, text } = await send(
      azion,
      'GET',
      '/v4/workspace/workloads?page=3&page_size=10',
    );
    expect(status).toBe(200);
    expect(JSON.parse(text)).toMatchObject({
      count: 25,
      total_pages: 3,
      page: 3,
      page_size: 10,
      results: [{ id: 21 }, { id: 22 }, { id: 23 }, { id: 24 }, { id: 25 }],
    });
    expect(text).not.toContain('http');
  });

  test('accepts changes as pending, and executes purges', async () => {
    const azion = await setUp();
    const path = '/v4/workspace/network_lists';
    const answers = [
      await send(azion, 'POST', path, { name: 'a' }),
      await send(azion, 'PATCH', `${path}/1001`, { active: true }),
      await send(azion, 'GET', `${path}/1001`),
      await send(azion, 'DELETE', `${path}/1001`),
      await send(azion, 'POST', '/v4/workspace/purge/url', { items: ['u'], layer: 'cache' }),
      await send(azion, 'POST', '/v4/events/graphql', { query: '{}' }),
    ];
    const item = { id: 1001, name: 'a' };
    expect(answers.map(({ status, text }) => [status, JSON.parse(text)])).toEqual([
      [202, { state: 'pending', data: item }],
      [202, { state: 'pending', data: { ...item, active: true } }],
      [200, { data: { ...item, active: true } }],
      [202, { state: 'pending' }],
      [201, { state: 'executed', data: { items: ['u'], layer: 'cache' } }],
      [200, { data: {} }],
    ]);
    expect(azion.seen.map((call) => call.class)).toEqual(
      'v4-write v4-write v4-read v4-write v4-purge v4-graphql'.split(' '),
    );
  });

  test('refuses with the errors of JSON:API, and reports its limits as version 3 does', async () => {
    const clock = new FakeClock({ epochMs: Date.UTC(2026, 10, 28, 10) });
    const azion = await setUp({ clock, limits: { 'v4-read': { limit: 1, periodMs: 1000 } } });
    const path = '/v4/workspace/workloads';
    const refused = await ask(`${azion.url}${path}`, {});
    const served = await send(azion, 'GET', path);
    const throttled = await send(azion, 'GET', path);
    expect(served.headers).toMatchObject({
      'x-ratelimit-limit': '1',
      'x-ratelimit-remaining': '0',
      'x-ratelimit-reset': '2026-11-28T10:00:01.000000',
    });
    expect([refused.status, served.status, throttled.status]).toEqual([401, 200, 429]);
    expect(JSON.parse(refused.text)).toMatchObject({ errors: [{ status: '401' }] });
    expect(JSON.parse(throttled.text)).toEqual({
      errors: [
        { status: '429', code: '10010', title: 'Throttled', detail: 'Request was throttled.' },
      ],
    });
  });

  test('counts apart from version 3', async () => {
    const one = { limit: 1, periodMs: 60_000 };
    const azion = await setUp({ limits: { read: one, 'v4-read': one } });
    const headers = { ...TOKEN, accept: 'application/json; version=3' };
    const v3 = await ask(`${azion.url}/domains`, { headers });
    const v4 = await send(azion, 'GET', '/v4/workspace/workloads');
    expect([v3.status, v4.status]).toEqual([200, 200]);
  });
});
