import { expect, test } from 'vitest';
import { makeCostOf, makeDrawsOf, type DrawsOptions } from '../../src/gateway/identify/draws.ts';
import type { ClassRule } from '../../src/http/classify.ts';
import type { LimitRule } from '../../src/http/limit-rule.ts';

const SECOND_MS = 1000;
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

function limit(count: number, periodMs: number, more: Partial<LimitRule> = {}): LimitRule {
  return { limit: count, periodMs, scope: 'account', ...more };
}

function ids(
  rule: ClassRule,
  credential: string | undefined,
  options: Partial<DrawsOptions> = {},
): string[] {
  const drawsOf = makeDrawsOf({
    budgetPer: 'credential',
    hasToken: true,
    limits: [],
    accounts: [],
    credentialHash: (text) => `hash-${text}`,
    ...options,
  });
  return drawsOf(rule, credential, undefined).map(({ bucket }) => bucket.id);
}

test('a class without limits has one bucket for each credential', () => {
  expect(ids({ name: 'read' }, 'a')).toEqual(['hash-a:read']);
  expect(ids({ name: 'read' }, undefined)).toEqual(['own:read']);
  expect(ids({ name: 'read' }, undefined, { hasToken: false })).toEqual(['anonymous:read']);
  expect(ids({ name: 'read' }, 'a', { budgetPer: 'upstream' })).toEqual(['upstream:read']);
});

test('what fewer share comes first, and of what equally many do the longest period', () => {
  const global = limit(50, SECOND_MS, { name: 'global', scope: 'credential' });
  const purge: ClassRule = {
    name: 'purge',
    limits: [
      limit(200, MINUTE_MS),
      limit(9, SECOND_MS, { name: 'site', scope: 'api' }),
      limit(2000, DAY_MS, { name: 'daily' }),
      limit(5, SECOND_MS, { name: 'own', scope: 'credential' }),
    ],
  };
  expect(ids(purge, 'a', { limits: [global] })).toEqual([
    'hash-a:purge/daily',
    'hash-a:purge',
    'hash-a:purge/own',
    'upstream:purge/site',
    'hash-a:global',
  ]);
  // Credentials of an account are narrower than the account.
  const accounts = [{ name: 'main', credentials: ['hash-b'] }];
  expect(ids(purge, 'a', { limits: [global], accounts })).toEqual([
    'hash-a:purge/own',
    'hash-a:purge/daily',
    'hash-a:purge',
    'upstream:purge/site',
    'hash-a:global',
  ]);
  const changes = limit(20, SECOND_MS, { name: 'changes', classes: ['purge', 'write'] });
  const daily = limit(5000, DAY_MS, { name: 'daily' });
  // It is not known how long a bucket makes requests wait whose limit is not stated.
  expect(ids({ name: 'write' }, 'a', { limits: [global, daily, changes] })).toEqual([
    'hash-a:write',
    'hash-a:changes',
    'hash-a:daily',
    'hash-a:global',
  ]);
});

test('the credentials of an account share its buckets, but not those of each credential', () => {
  const accounts = [{ name: 'main', credentials: ['hash-a', 'hash-b'] }];
  const rule: ClassRule = {
    name: 'purge',
    limits: [limit(200, MINUTE_MS), limit(5, SECOND_MS, { name: 'each', scope: 'credential' })],
  };
  expect(ids(rule, 'a', { accounts })).toEqual(['hash-a:purge/each', 'account/main:purge']);
  expect(ids(rule, 'b', { accounts })).toEqual(['hash-b:purge/each', 'account/main:purge']);
  expect(ids(rule, 'c', { accounts })).toEqual(['hash-c:purge/each', 'hash-c:purge']);
  expect(ids({ name: 'read' }, 'b', { accounts })).toEqual(['account/main:read']);
});

test('no two APIs share a bucket', () => {
  expect(ids({ name: 'read' }, 'a', { api: 'one' })).toEqual(['one:hash-a:read']);
  const site: ClassRule = { name: 'read', limits: [limit(1, SECOND_MS, { scope: 'api' })] };
  expect(ids(site, 'a', { api: 'two' })).toEqual(['two:upstream:read']);
});

test('each bucket has its own cost and its stated limit', () => {
  const drawsOf = makeDrawsOf({
    budgetPer: 'credential',
    hasToken: false,
    limits: [limit(50, SECOND_MS, { name: 'global' })],
    accounts: [],
    credentialHash: (text) => text,
  });
  const draws = drawsOf(
    {
      name: 'purge',
      cost: 3,
      limits: [limit(200, MINUTE_MS), limit(10_000, MINUTE_MS, { name: 'objects', cost: 7 })],
    },
    'a',
    undefined,
  );
  expect(
    draws.map(({ cost, kind, bucket }) => [cost, kind, bucket.name, bucket.configuredLimit]),
  ).toEqual([
    [3, 'class', undefined, { limit: 200, periodMs: MINUTE_MS }],
    [7, 'stated', 'objects', { limit: 10_000, periodMs: MINUTE_MS }],
    [undefined, 'stated', 'global', { limit: 50, periodMs: SECOND_MS }],
  ]);
});

test('what was learned of a class stands for its own bucket, beside the limits with a name', () => {
  const drawsOf = makeDrawsOf({
    budgetPer: 'credential',
    hasToken: false,
    limits: [limit(50, SECOND_MS, { name: 'global', scope: 'api' })],
    accounts: [],
    credentialHash: (text) => text,
  });
  const learned = [{ name: '' }, { name: 'tokens' }];
  expect(
    drawsOf({ name: 'chat', cost: 3 }, 'a', learned).map(({ bucket, cost }) => [bucket.id, cost]),
  ).toEqual([
    ['a:chat', 3],
    ['a:chat~tokens', undefined],
    ['upstream:global', undefined],
  ]);
});

test('a name that was learned shares no bucket with that of a stated limit or of another class', () => {
  const drawsOf = makeDrawsOf({
    budgetPer: 'credential',
    hasToken: false,
    limits: [limit(50, SECOND_MS, { name: 'chat/all' })],
    accounts: [],
    credentialHash: (text) => text,
  });
  const learned = [{ name: '' }, { name: 'objects' }, { name: 'all' }];
  const limits = [limit(200, MINUTE_MS), limit(9, MINUTE_MS, { name: 'objects' })];
  const names = drawsOf({ name: 'chat', limits }, 'a', learned).map(({ bucket }) => bucket.id);
  expect(new Set(names).size).toBe(5);
});

test('a cost that the caller states counts once among the buckets that were learned', () => {
  const drawsOf = makeDrawsOf({
    budgetPer: 'credential',
    hasToken: false,
    limits: [],
    accounts: [],
    credentialHash: (text) => text,
  });
  const draws = drawsOf({ name: 'chat' }, 'a', [{ name: '' }, { name: 'tokens' }]);
  expect(draws.map(makeCostOf(draws, 500, () => ''))).toEqual([500, undefined]);
});
