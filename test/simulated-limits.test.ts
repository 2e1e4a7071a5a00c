import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { makeRateHeaderReader } from '../src/rate-headers/rate-headers.ts';
import {
  reportDraft07,
  reportDraft11,
  reportFamilies,
  reportPositions,
  reportRetryAfter,
  reportTriple,
} from './support/limit-reports.ts';
import {
  azionWorld,
  discordBucket,
  discordWorld,
  githubWorld,
  slackWorld,
} from './support/limit-worlds.ts';
import { readingsInWords } from './support/readings-in-words.ts';
import {
  makeMeter,
  type ApiLimit,
  type Meter,
  type MeterAnswer,
  type MeteredRequest,
} from './support/several-limits.ts';

const NOW = Date.UTC(2026, 10, 28, 10);
const DATE = 'Sat, 28 Nov 2026 10:00:00 GMT';

function request(line: string, credential = 'a', body?: string): MeteredRequest {
  const [method = '', path = ''] = line.split(' ');
  return { method, path, credential, ...(body === undefined ? {} : { body }) };
}

/** The names of the limits that refused each of `count` equal requests. */
function refusals(meter: Meter, one: MeteredRequest, count: number, atMs = NOW): unknown[] {
  return Array.from({ length: count }, () => meter.answer(one, atMs).refusedBy);
}

function read(answer: MeterAnswer): string {
  return readingsInWords(makeRateHeaderReader([])({ date: DATE, ...answer.headers }));
}

const SECOND: ApiLimit = { name: 'second', limit: 2, periodMs: 1000 };
const DAY: ApiLimit = { name: 'day', limit: 5, periodMs: 86_400_000 };

describe('an API with several limits', () => {
  test('refuses by the first limit that is used up, until its window is over', () => {
    const meter = makeMeter({ limits: [SECOND, DAY], report: reportDraft11() });
    const one = request('GET /a');
    expect(refusals(meter, one, 3)).toEqual([undefined, undefined, 'second']);
    expect(refusals(meter, one, 3, NOW + 1000)).toEqual([undefined, undefined, 'second']);
    expect(refusals(meter, one, 2, NOW + 2000)).toEqual([undefined, 'day']);
  });

  test.each([
    ['nothing', 1],
    ['checked-before', 4],
  ] as const)('spends %s with a refusal', (refusalSpends, spent) => {
    const route: ApiLimit = { name: 'route', limit: 1, periodMs: 1000 };
    const meter = makeMeter({ limits: [DAY, route], report: reportDraft11(), refusalSpends });
    expect(refusals(meter, request('GET /a'), 4)).toEqual([undefined, 'route', 'route', 'route']);
    expect(meter.counters.get('day|a|')).toMatchObject({ spent, served: 1, refused: 0 });
    expect(meter.counters.get('route|a|')).toMatchObject({ spent: 1, served: 1, refused: 3 });
  });

  test('counts by credential, account and API, and parts counters further', () => {
    const limits: ApiLimit[] = [
      { name: 'own', limit: 9, periodMs: 1000 },
      { name: 'shared', limit: 9, periodMs: 1000, scope: 'account' },
      { name: 'all', limit: 9, periodMs: 1000, scope: 'api' },
      { name: 'path', limit: 9, periodMs: 1000, scope: 'api', part: ({ path }) => path },
    ];
    const accountOf = (credential: string): string => credential.slice(0, 1);
    const meter = makeMeter({ limits, report: reportDraft11(), accountOf });
    for (const credential of ['a1', 'a2', 'b1']) meter.answer(request('GET /x', credential), NOW);
    expect([...meter.counters].map(([key, { spent }]) => [key, spent])).toEqual([
      ['own|a1|', 1],
      ['shared|a|', 2],
      ['all||', 3],
      ['path||/x', 3],
      ['own|a2|', 1],
      ['own|b1|', 1],
      ['shared|b|', 1],
    ]);
  });

  test('has limits that cross: each request draws on those of its method and of its path', () => {
    const limits: ApiLimit[] = [
      { name: 'zones', limit: 2, periodMs: 1000, counts: '/zones/**' },
      { name: 'writes', limit: 3, periodMs: 1000, counts: ({ method }) => method === 'POST' },
    ];
    const meter = makeMeter({ limits, report: reportDraft11() });
    const lines = ['POST /zones/1', 'GET /zones', 'POST /zones', 'POST /a', 'POST /a', 'POST /a'];
    const refused = lines.map((line) => meter.answer(request(line), NOW).refusedBy);
    expect(refused).toEqual([undefined, undefined, 'zones', undefined, undefined, 'writes']);
    expect(meter.answer(request('GET /a'), NOW).counters).toEqual([]);
  });

  test('refuses a request of which one cost does not fit, and changes the size of a limit', () => {
    const objects: ApiLimit = { name: 'objects', limit: 10, periodMs: 1000, cost: () => 6 };
    const meter = makeMeter({ limits: [SECOND, objects], report: reportDraft11() });
    expect(refusals(meter, request('GET /a'), 2)).toEqual([undefined, 'objects']);
    meter.setLimit('objects', 12);
    expect(refusals(meter, request('GET /a'), 2)).toEqual([undefined, 'second']);
    expect(() => meter.setLimit('object', 1)).toThrow('expected one of the limits, got object');
  });

  test('never accepts more in a window than any limit allows', () => {
    const semantics = fc.constantFrom('aligned', 'fixed', 'sliding', 'leaky', 'window-counter');
    const step = fc.tuple(fc.integer({ min: 0, max: 900 }), fc.integer({ min: 1, max: 3 }));
    const spends = fc.constantFrom('nothing', 'checked-before');
    fc.assert(
      fc.property(semantics, spends, fc.array(step, { maxLength: 120 }), (kind, how, steps) => {
        const common = { semantics: kind, cost: ({ body = '' }: MeteredRequest) => body.length };
        const limits: ApiLimit[] = [
          { name: 'wide', limit: 20, periodMs: 9000, ...common },
          { name: 'narrow', limit: 5, periodMs: 1000, ...common },
        ];
        const meter = makeMeter({ limits, report: reportDraft11(), refusalSpends: how });
        const accepted: { at: number; cost: number }[] = [];
        let at = NOW;
        for (const [waitMs, cost] of steps) {
          at += waitMs;
          const answer = meter.answer(request('GET /a', 'a', 'x'.repeat(cost)), at);
          if (answer.status === 200) accepted.push({ at, cost });
        }
        // Windows may begin anywhere, so that two of them can meet in one period.
        for (const { limit, periodMs } of limits) {
          for (const { at: from } of accepted) {
            const inPeriod = accepted.filter((one) => one.at >= from && one.at < from + periodMs);
            const spent = inPeriod.reduce((sum, { cost }) => sum + cost, 0);
            expect(spent).toBeLessThanOrEqual(kind === 'sliding' ? limit : 2 * limit);
          }
        }
        for (const { spent, served } of meter.counters.values()) {
          expect(spent).toBeGreaterThanOrEqual(served);
        }
      }),
    );
  });
});

describe('the answer of an API with several limits reports', () => {
  const limits: ApiLimit[] = [
    { name: 'requests', limit: 10, periodMs: 60_000 },
    { name: 'tokens', limit: 100, periodMs: 3_600_000, cost: () => 45 },
  ];

  test.each([
    ['nothing', reportRetryAfter(), 'nothing', 'wait 3600 s'],
    [
      'the first without a name',
      reportTriple({ retryAfter: 'delta-ceil' }),
      'limit 10, remaining 9, reset in 60 s',
      'limit 100, remaining 10, reset in 3600 s; wait 3600 s',
    ],
    [
      'the one of which the least is left',
      reportTriple({ shows: 'least-left', family: 'ratelimit', reset: 'delta-ceil' }),
      'limit 100, remaining 55, reset in 3600 s',
      'limit 100, remaining 10, reset in 3600 s',
    ],
    [
      'its name beside it',
      reportTriple({ nameHeader: 'x-ratelimit-resource', reset: 'epoch-ceil' }),
      'name requests, limit 10, remaining 9, reset in 60 s',
      'name tokens, limit 100, remaining 10, reset in 3600 s',
    ],
    [
      'draft 07',
      reportDraft07(),
      'limit 100, remaining 55, reset in 3600 s',
      'limit 100, remaining 10, reset in 3600 s',
    ],
    [
      'draft 11',
      reportDraft11(),
      'name requests, limit 10, remaining 9, reset in 60 s, period 60 s; name tokens, limit 100, remaining 55, reset in 3600 s, period 3600 s',
      'name requests, limit 10, remaining 8, reset in 60 s, period 60 s; name tokens, limit 100, remaining 10, reset in 3600 s, period 3600 s',
    ],
    [
      'lists by position',
      reportPositions(),
      'name 0, limit 10, remaining 9, reset in 60 s; name 1, limit 100, remaining 55, reset in 3600 s',
      'name 0, limit 10, remaining 8, reset in 60 s; name 1, limit 100, remaining 10, reset in 3600 s',
    ],
    [
      'names in its headers',
      reportFamilies(),
      'limit 10, remaining 9, reset in 60 s; name tokens, limit 100, remaining 55, reset in 3600 s',
      'limit 10, remaining 8, reset in 60 s; name tokens, limit 100, remaining 10, reset in 3600 s',
    ],
  ])('%s', (_what, report, first, refused) => {
    const meter = makeMeter({ limits, report });
    expect(read(meter.answer(request('GET /a'), NOW))).toBe(first);
    meter.answer(request('GET /a'), NOW);
    expect(read(meter.answer(request('GET /a'), NOW))).toBe(refused);
  });

  test('only some of them', () => {
    const reported = { reported: 'when-it-refuses' } as const;
    const some = limits.map((limit): ApiLimit => Object.assign({}, limit, reported));
    const meter = makeMeter({ limits: some, report: reportDraft11() });
    const answers = Array.from({ length: 3 }, () => read(meter.answer(request('GET /a'), NOW)));
    expect(answers).toEqual([
      'nothing',
      'nothing',
      'name tokens, limit 100, remaining 10, reset in 3600 s, period 3600 s',
    ]);
  });
});

describe('the limits of', () => {
  test('GitHub: core and search have names, and neither spends the other', () => {
    const meter = makeMeter(githubWorld({ search: { limit: 2, periodMs: 60_000 } }));
    expect(refusals(meter, request('GET /search/code'), 3)).toEqual([
      undefined,
      undefined,
      'search',
    ]);
    expect(read(meter.answer(request('GET /search/users'), NOW))).toBe(
      'name search, limit 2, remaining 0, reset in 60 s',
    );
    expect(read(meter.answer(request('GET /repos/a/b'), NOW))).toBe(
      'name core, limit 5000, remaining 4999, reset in 3600 s',
    );
    const core = { limit: 1, periodMs: 3_600_000 };
    const small = makeMeter(githubWorld({ core, refusalStatus: 403 }));
    const statuses = [1, 2].map(() => small.answer(request('GET /user'), NOW).status);
    expect(statuses).toEqual([200, 403]);
  });

  test('Discord: a bucket per route, a counter per channel, and one limit over all', () => {
    const meter = makeMeter(discordWorld({ global: { limit: 7, periodMs: 1000 } }));
    const inChannel = (id: number): MeteredRequest => request(`POST /v10/channels/${id}/messages`);
    const bucket = discordBucket(inChannel(1));
    expect(bucket).toBe(discordBucket(inChannel(2)));
    expect(bucket).not.toBe(discordBucket(request('GET /v10/channels/1/messages')));
    expect(refusals(meter, inChannel(1), 5)).toEqual(Array.from({ length: 5 }));
    const refused = meter.answer(inChannel(1), NOW);
    expect(refused.headers).toMatchObject({
      'x-ratelimit-bucket': bucket,
      'x-ratelimit-remaining': '0',
      'x-ratelimit-reset-after': '5.000',
      'x-ratelimit-scope': 'user',
      'retry-after': '5',
    });
    expect(meter.answer(inChannel(2), NOW).headers).toMatchObject({
      'x-ratelimit-bucket': bucket,
      'x-ratelimit-remaining': '4',
    });
    expect(refusals(meter, request('PATCH /v10/guilds/3'), 1)).toEqual([undefined]);
    expect(meter.answer(inChannel(2), NOW)).toMatchObject({
      status: 429,
      refusedBy: 'global',
      headers: { 'x-ratelimit-global': 'true', 'x-ratelimit-scope': 'global', 'retry-after': '1' },
    });
    expect(meter.answer(inChannel(2), NOW).headers).not.toHaveProperty('x-ratelimit-limit');
    expect(meter.answer(request('POST /v10/interactions/4/secret/callback'), NOW).status).toBe(200);
  });

  test('Slack: each method has its own, and only a refusal has a header', () => {
    const meter = makeMeter(slackWorld({ tier2: { limit: 1, periodMs: 60_000 } }));
    const list = request('GET /api/users.list');
    expect(meter.answer(list, NOW).headers).toEqual({});
    expect(meter.answer(list, NOW + 500)).toMatchObject({
      status: 429,
      refusedBy: 'tier-2',
      headers: { 'retry-after': '60' },
    });
    expect(refusals(meter, request('GET /api/conversations.list'), 2)).toEqual([
      undefined,
      'tier-2',
    ]);
    expect(refusals(meter, request('POST /api/chat.postMessage'), 51)).toEqual([
      ...Array.from({ length: 50 }),
      'tier-3',
    ]);
  });

  test('Azion: reads, writes and purges, and objects that no header reports', () => {
    const meter = makeMeter(azionWorld({ objects: { limit: 90, periodMs: 60_000 } }));
    const purge = request('POST /purge/url', 'a', JSON.stringify({ urls: Array(40).fill('u') }));
    const reading = (line: string): string => read(meter.answer(request(line), NOW));
    expect(reading('GET /domains')).toBe('limit 80, remaining 79, reset in 60 s');
    expect(reading('PATCH /domains/1')).toBe('limit 20, remaining 19, reset in 60 s');
    expect(reading('POST /purge/wildcard')).toBe('limit 2000, remaining 1999, reset in 86400 s');
    expect(refusals(meter, purge, 3)).toEqual([undefined, undefined, 'objects']);
    expect(read(meter.answer(purge, NOW))).toBe('limit 200, remaining 198, reset in 60 s');
    const told = makeMeter(
      azionWorld({ objects: { limit: 90, periodMs: 60_000 }, objectsReported: 'when-it-refuses' }),
    );
    expect(refusals(told, purge, 2)).toEqual([undefined, undefined]);
    expect(read(told.answer(purge, NOW))).toBe('limit 90, remaining 10, reset in 60 s');
  });

  test('Azion: the credentials of an account share them', () => {
    const meter = makeMeter(
      azionWorld({ writes: { limit: 1, periodMs: 60_000 }, accountOf: () => 'main' }),
    );
    expect(meter.answer(request('POST /domains', 'a'), NOW).status).toBe(200);
    expect(meter.answer(request('POST /domains', 'b'), NOW).refusedBy).toBe('write');
  });
});
