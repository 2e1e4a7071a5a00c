import { describe, expect, test } from 'vitest';
import { LISTS } from '../../src/config/lists.ts';
import { loadConfig } from '../../src/config/config.ts';
import { limitProblems } from '../../src/config/limits.ts';
import { SETTINGS } from '../../src/config/settings.ts';
import { makeClassify } from '../../src/http/classify.ts';
import type { LimitRule } from '../../src/http/limit-rule.ts';
import { maskPath } from '../../src/http/target.ts';
import { nonePreset, type Preset } from '../../src/presets/preset.ts';
import { PRESETS } from '../../src/presets/presets.ts';
import { makeRateHeaderReader, type HeaderRecord } from '../../src/rate-headers/rate-headers.ts';
import { durationText } from '../../src/util/duration.ts';
import { readingsInWords } from '../support/readings-in-words.ts';

/**
 * A request, and its answer as it was recorded or documented, moved to Sat, 28 Nov 2026 10:00:00 GMT. Of
 * some routes, and of Azion's v4, no answer with rate headers is known.
 */
interface Recorded {
  readonly request: string;
  readonly headers: HeaderRecord;
  readonly className: string;
  readonly readAs: string;
}

const RECORDED: Readonly<Record<string, readonly Recorded[]>> = {
  azion: [
    {
      request: 'GET /domains',
      headers: {
        'x-ratelimit-limit': '80',
        'x-ratelimit-remaining': '79',
        'x-ratelimit-reset': '2026-11-28T10:01:00.340405',
      },
      className: 'read',
      readAs: 'limit 80, remaining 79, reset in 60.340405 s',
    },
    {
      request: 'POST /domains',
      headers: {
        'x-ratelimit-limit': '20',
        'x-ratelimit-remaining': '19',
        'x-ratelimit-reset': '2026-11-28T10:01:00.340405',
      },
      className: 'write',
      readAs: 'limit 20, remaining 19, reset in 60.340405 s',
    },
    {
      request: 'POST /metrics/graphql',
      headers: {
        'x-ratelimit-limit': '120',
        'x-ratelimit-remaining': '119',
        'x-ratelimit-reset': '2026-11-28T10:01:00.000001',
      },
      className: 'graphql',
      readAs: 'limit 120, remaining 119, reset in 60.000001 s',
    },
    {
      request: 'POST /purge/cachekey',
      headers: { 'x-ratelimit-limit': '200', 'x-ratelimit-remaining': '199' },
      className: 'purge',
      readAs: 'limit 200, remaining 199',
    },
    {
      request: 'POST /purge/wildcard',
      headers: { 'x-ratelimit-limit': '2000', 'x-ratelimit-remaining': '1999' },
      className: 'purge-wildcard',
      readAs: 'limit 2000, remaining 1999',
    },
  ],
  'azion-v4': [
    { request: 'GET /workspace/workloads', headers: {}, className: 'read', readAs: 'nothing' },
    { request: 'POST /events/graphql', headers: {}, className: 'graphql', readAs: 'nothing' },
    { request: 'POST /v4/metrics/graphql', headers: {}, className: 'graphql', readAs: 'nothing' },
    {
      request: 'POST /workspace/purge/url',
      headers: { 'retry-after': '12' },
      className: 'purge',
      readAs: 'wait 12 s',
    },
    {
      request: 'POST /v4/workspace/purge/wildcard',
      headers: {},
      className: 'purge-wildcard',
      readAs: 'nothing',
    },
    { request: 'POST /workspace/workloads', headers: {}, className: 'write', readAs: 'nothing' },
  ],
  github: [
    {
      request: 'GET /repos/a/b/issues',
      headers: {
        'x-ratelimit-limit': '5000',
        'x-ratelimit-remaining': '4992',
        'x-ratelimit-reset': '1795861800',
        'x-ratelimit-used': '8',
        'x-ratelimit-resource': 'core',
      },
      className: 'core',
      readAs: 'name core, limit 5000, remaining 4992, reset in 1800 s',
    },
    {
      request: 'GET /search/issues',
      headers: {
        'x-ratelimit-limit': '30',
        'x-ratelimit-remaining': '0',
        'x-ratelimit-reset': '1795860020',
        'x-ratelimit-used': '30',
        'x-ratelimit-resource': 'search',
      },
      className: 'search',
      readAs: 'name search, limit 30, remaining 0, reset in 20 s',
    },
    {
      request: 'GET /search/code',
      headers: { 'retry-after': '60' },
      className: 'code_search',
      readAs: 'wait 60 s',
    },
    { request: 'POST /graphql', headers: {}, className: 'graphql', readAs: 'nothing' },
    {
      request: 'POST /app-manifests/abc/conversions',
      headers: {},
      className: 'integration_manifest',
      readAs: 'nothing',
    },
    { request: 'GET /scim/v2/Users', headers: {}, className: 'scim', readAs: 'nothing' },
  ],
  gitlab: [
    {
      request: 'GET /api/v4/projects',
      headers: {
        'ratelimit-limit': '60',
        'ratelimit-name': 'throttle_authenticated_api',
        'ratelimit-observed': '27',
        'ratelimit-remaining': '33',
        'ratelimit-reset': '1795860060',
      },
      className: 'all',
      readAs: 'name throttle_authenticated_api, limit 60, remaining 33, reset in 60 s',
    },
    {
      request: 'POST /api/graphql',
      headers: {
        'ratelimit-limit': '60',
        'ratelimit-name': 'throttle_authenticated_api',
        'ratelimit-observed': '67',
        'ratelimit-remaining': '0',
        'ratelimit-reset': '1795860030',
        'ratelimit-resettime': 'Sat, 28 Nov 2026 10:00:30 GMT',
        'retry-after': '30',
      },
      className: 'all',
      readAs: 'name throttle_authenticated_api, limit 60, remaining 0, reset in 30 s; wait 30 s',
    },
  ],
  discord: [
    {
      request: 'POST /v10/channels/1234/messages',
      headers: {
        'x-ratelimit-limit': '5',
        'x-ratelimit-remaining': '0',
        'x-ratelimit-reset': '1795860001',
        'x-ratelimit-reset-after': '1',
        'x-ratelimit-bucket': 'abcd1234',
      },
      className: 'channels',
      readAs: 'name abcd1234, limit 5, remaining 0, reset in 1 s',
    },
    {
      request: 'PATCH /v9/guilds/1/members/2',
      headers: {
        'retry-after': '65',
        'x-ratelimit-limit': '10',
        'x-ratelimit-remaining': '0',
        'x-ratelimit-reset': '1795860064.57',
        'x-ratelimit-reset-after': '64.57',
        'x-ratelimit-bucket': 'abcd1234',
        'x-ratelimit-scope': 'user',
      },
      className: 'guilds',
      readAs: 'name abcd1234, limit 10, remaining 0, reset in 64.57 s; wait 65 s',
    },
    {
      request: 'GET /v10/users/@me',
      headers: {
        'retry-after': '65',
        'x-ratelimit-global': 'true',
        'x-ratelimit-scope': 'global',
      },
      className: 'all',
      readAs: 'wait 65 s',
    },
    {
      request: 'POST /v10/webhooks/1/secret',
      headers: {},
      className: 'webhooks',
      readAs: 'nothing',
    },
    {
      request: 'POST /v10/interactions/1/secret/callback',
      headers: {},
      className: 'interactions',
      readAs: 'nothing',
    },
  ],
  cloudflare: [
    {
      request: 'GET /zones',
      headers: { ratelimit: '"default";r=50;t=30', 'ratelimit-policy': '"default";q=1200;w=300' },
      className: 'rest',
      readAs: 'name default, limit 1200, remaining 50, reset in 30 s, period 300 s',
    },
    {
      request: 'POST /graphql',
      headers: { 'retry-after': '30' },
      className: 'graphql',
      readAs: 'wait 30 s',
    },
  ],
  shopify: [
    {
      request: 'GET /products.json',
      headers: { 'x-shopify-shop-api-call-limit': '32/40' },
      className: 'rest',
      readAs: 'limit 40, remaining 8',
    },
    {
      request: 'GET /customers.json',
      headers: { 'x-shopify-shop-api-call-limit': '40/40', 'retry-after': '2.0' },
      className: 'rest',
      readAs: 'limit 40, remaining 0; wait 2 s',
    },
    { request: 'POST /graphql.json', headers: {}, className: 'graphql', readAs: 'nothing' },
  ],
  openai: [
    {
      request: 'POST /chat/completions',
      headers: {
        'x-ratelimit-limit-requests': '5000',
        'x-ratelimit-limit-tokens': '160000',
        'x-ratelimit-remaining-requests': '4999',
        'x-ratelimit-remaining-tokens': '159976',
        'x-ratelimit-reset-requests': '12ms',
        'x-ratelimit-reset-tokens': '6m0s',
      },
      className: 'all',
      readAs:
        'limit 5000, remaining 4999, reset in 0.012 s; name tokens, limit 160000, remaining 159976, reset in 360 s',
    },
    { request: 'POST /embeddings', headers: {}, className: 'embeddings', readAs: 'nothing' },
    { request: 'POST /moderations', headers: {}, className: 'moderations', readAs: 'nothing' },
    { request: 'POST /audio/speech', headers: {}, className: 'audio', readAs: 'nothing' },
    { request: 'POST /images/edits', headers: {}, className: 'images', readAs: 'nothing' },
  ],
  anthropic: [
    {
      request: 'POST /v1/messages',
      headers: {
        'anthropic-ratelimit-input-tokens-limit': '80000',
        'anthropic-ratelimit-input-tokens-remaining': '80000',
        'anthropic-ratelimit-input-tokens-reset': '2026-11-28T10:00:01Z',
        'anthropic-ratelimit-output-tokens-limit': '16000',
        'anthropic-ratelimit-output-tokens-remaining': '16000',
        'anthropic-ratelimit-output-tokens-reset': '2026-11-28T10:00:02Z',
        'anthropic-ratelimit-requests-limit': '1000',
        'anthropic-ratelimit-requests-remaining': '999',
        'anthropic-ratelimit-requests-reset': '2026-11-28T10:00:01Z',
        'anthropic-ratelimit-tokens-limit': '96000',
        'anthropic-ratelimit-tokens-remaining': '96000',
        'anthropic-ratelimit-tokens-reset': '2026-11-28T10:00:01Z',
      },
      className: 'messages',
      readAs:
        'name input-tokens, limit 80000, remaining 80000, reset in 1 s; name output-tokens, limit 16000, remaining 16000, reset in 2 s; limit 1000, remaining 999, reset in 1 s; name tokens, limit 96000, remaining 96000, reset in 1 s',
    },
    {
      request: 'POST /v1/messages/count_tokens',
      headers: { 'retry-after': '7' },
      className: 'count-tokens',
      readAs: 'wait 7 s',
    },
    {
      request: 'GET /v1/messages/batches/b1',
      headers: {},
      className: 'batches',
      readAs: 'nothing',
    },
    { request: 'POST /v1/messages/batches', headers: {}, className: 'batches', readAs: 'nothing' },
  ],
  none: [
    {
      request: 'GET /a',
      headers: { 'x-ratelimit-remaining': '9', 'x-ratelimit-reset': '30' },
      className: 'all',
      readAs: 'remaining 9, reset in 30 s',
    },
  ],
};

/** The lists of a preset as a settings file would contain them. */
function asInFile({
  classes,
  limits,
  pathMasks,
  queryMasks,
  callers,
  rateHeaders,
}: Preset): object {
  return {
    classes: classes.map(({ limits: own, ...rule }) => ({
      ...rule,
      ...(own === undefined ? {} : { limits: own.map(limitInFile) }),
    })),
    limits: limits.map(limitInFile),
    pathMasks,
    queryMasks,
    callers: callers.map(({ maxWaitMs, ...rule }) => ({
      ...rule,
      ...(maxWaitMs === undefined ? {} : { maxWait: `${maxWaitMs}ms` }),
    })),
    rateHeaders: rateHeaders.map(({ periodMs, ...rule }) => ({
      ...rule,
      ...(periodMs === undefined ? {} : { period: `${periodMs}ms` }),
    })),
  };
}

function limitInFile({ limit, periodMs, ...rule }: LimitRule): object {
  return { ...rule, limit: `${limit}/${durationText(periodMs)}` };
}

describe.each([...PRESETS])('the preset %s', (name, preset) => {
  test('has lists that a settings file could contain', () => {
    for (const [key, list] of Object.entries(asInFile(preset))) {
      const schema = Object.entries(LISTS).find(([known]) => known === key)?.[1];
      const data = key === 'classes' || key === 'limits' ? { data: preset[key] } : {};
      expect(schema?.safeParse(list)).toMatchObject({ success: true, ...data });
    }
  });

  test('has limits that its classes do not contradict', () => {
    expect(limitProblems({ ...preset, accounts: [] }, () => undefined)).toEqual([]);
  });

  test('loads, with its own defaults', () => {
    const env = {
      HEADGATE_PRESET: name,
      ...(preset.upstreamUrl === undefined ? { HEADGATE_UPSTREAM_URL: 'https://api.example' } : {}),
    };
    const { apiVersion = { version: 'off' }, tokenHeader = 'Authorization token' } = preset;
    const [token = '', scheme = ''] = tokenHeader.split(' ');
    expect(loadConfig({ env, readFile: () => '' })).toMatchObject({
      kind: 'ok',
      config: { preset: name, tokenField: { name: token, scheme } },
    });
    expect(SETTINGS.apiVersion.kind.parse(apiVersion.version)).toBe(apiVersion.version);
  });

  test('has header names in lower case where they are compared', () => {
    const names = [...preset.credentialFields, ...preset.rateHeaders.map(({ header }) => header)];
    expect(names).toEqual(names.map((header) => header.toLowerCase()));
  });

  const recorded = RECORDED[name] ?? [];

  test('has a request here in every class', () => {
    const classes = new Set(preset.classes.map((rule) => rule.name));
    const seen = new Set(recorded.map(({ className }) => className));
    expect([...classes].filter((one) => !seen.has(one))).toEqual([]);
    expect(recorded.length).toBeGreaterThan(0);
  });

  test.each(recorded.map((one) => [one.request, one] as const))(
    'classifies %s, and reads its answer',
    (request, { className, headers, readAs }) => {
      const [method = '', path = ''] = request.split(' ');
      expect(makeClassify(preset.classes)(method, path).name).toBe(className);
      const read = makeRateHeaderReader(preset.rateHeaders);
      expect(readingsInWords(read({ date: 'Sat, 28 Nov 2026 10:00:00 GMT', ...headers }))).toBe(
        readAs,
      );
    },
  );
});

describe('secrets in paths', () => {
  test.each([
    ['azion', '/tokens/abc', '/tokens/***'],
    ['discord', '/v10/webhooks/12/abc/messages/34', '/v10/webhooks/***/***/messages/34'],
    ['discord', '/v9/interactions/12/abc/callback', '/v9/interactions/***/***/callback'],
    ['discord', '/v10/webhooks/12', '/v10/webhooks/12'],
    ['github', '/app-manifests/abc/conversions', '/app-manifests/***/conversions'],
  ])('of %s are masked: %s', (name, path, masked) => {
    expect(maskPath(path, (PRESETS.get(name) ?? nonePreset).pathMasks)).toBe(masked);
  });
});
