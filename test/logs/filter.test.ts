import { describe, expect, test } from 'vitest';
import { makeFilter, makePattern, type Filter } from '../../src/logs/filter.ts';
import { readLogsOptions } from '../../src/logs/options.ts';
import { loggedCall, loggedThrottle } from '../support/log-fixtures.ts';

const NOW = Date.UTC(2026, 10, 24, 7);

/** The filter that the options of a command line make. */
function filter(options: Readonly<Record<string, string>>): Filter {
  const read = readLogsOptions(new Map(Object.entries(options)), NOW);
  if (read.kind === 'wrong') throw new Error(read.reason);
  return makeFilter(read.options.filter);
}

function reason(options: Readonly<Record<string, string>>): string {
  const read = readLogsOptions(new Map(Object.entries(options)), NOW);
  return read.kind === 'wrong' ? read.reason : 'not wrong';
}

describe('a pattern', () => {
  test('matches any characters with *, and every other character with itself', () => {
    expect(makePattern('/domains')('/domains')).toBe(true);
    expect(makePattern('/domains')('/domains/1')).toBe(false);
    expect(makePattern('/domains*')('/domains')).toBe(true);
    expect(makePattern('*/records/*')('/zones/1/records/2')).toBe(true);
    expect(makePattern('a*a')('a')).toBe(false);
    expect(makePattern('a*a')('aa')).toBe(true);
    expect(makePattern('a.c')('abc')).toBe(false);
    expect(makePattern('*')('')).toBe(true);
  });

  test('is matched in linear time even if it is hostile', () => {
    expect(makePattern('*a'.repeat(200))(`${'a'.repeat(5000)}b`)).toBe(false);
  });
});

describe('a filter', () => {
  test('without conditions keeps every line', () => {
    expect(filter({})(loggedCall())).toBe(true);
    expect(filter({})(loggedThrottle())).toBe(true);
  });

  test.each([
    [{ caller: 'billing' }, { caller: 'billing' }, { caller: 'billing-2' }],
    [{ caller: 'a,bill*' }, { caller: 'billing-2' }, { caller: 'dns' }],
    [{ path: '/domains/*' }, { path: '/domains/17' }, { path: '/zones' }],
    [{ api: 'azion,git*' }, { api: 'github' }, { api: '' }],
    [{ bucket: '*:write' }, { bucket: 'own:write' }, { bucket: 'own:read' }],
    [{ bucket: '*:write' }, { bucket: 'own:write' }, { bucket: 'own:write/objects' }],
    [{ bucket: '*:write/*' }, { bucket: 'own:write/GET_x~1/7' }, { bucket: 'own:write' }],
    [{ id: 'x,y' }, { id: 'y' }, { id: 'z' }],
    [{ status: '5xx,429' }, { status: 503 }, { status: 404 }],
    [{ status: '5xx,429' }, { status: 429 }, { status: 428 }],
    [{ status: '0' }, { status: 0 }, { status: 200 }],
    [{ outcome: 'shed,failed' }, { outcome: 'failed' }, { outcome: 'answered' }],
    [{ 'min-wait': '1.5s' }, { waitMs: 1500 }, { waitMs: 1499.9 }],
    [{ since: '15m' }, { atMs: NOW - 900_000 }, { atMs: NOW - 900_001 }],
    [{ since: '2026-11-24' }, { atMs: Date.UTC(2026, 10, 24) }, { atMs: Date.UTC(2026, 10, 23) }],
    [{ since: '2026-11-24T06:30Z' }, { atMs: NOW }, { atMs: Date.UTC(2026, 10, 24, 6, 29) }],
    [{ since: '2026-11-24 06:30' }, { atMs: NOW }, { atMs: Date.UTC(2026, 10, 24, 6, 29) }],
    [{ since: '2026-11-24T07:30+01:00' }, { atMs: NOW }, { atMs: Date.UTC(2026, 10, 24, 6, 29) }],
    [
      { caller: 'a', path: '/x' },
      { caller: 'a', path: '/x' },
      { caller: 'a', path: '/y' },
    ],
  ] as const)('%j keeps %j and drops %j', (options, kept, dropped) => {
    expect(filter(options)(loggedCall(kept))).toBe(true);
    expect(filter(options)(loggedCall(dropped))).toBe(false);
  });

  test('keeps a 429 that matches, and drops every 429 if a condition applies to calls only', () => {
    const line = loggedThrottle({ caller: 'billing', bucket: 'own:read', id: 'x', api: 'azion' });
    const conditions = [{ caller: 'billing' }, { bucket: 'own:*' }, { id: 'x' }, { api: 'azion' }];
    for (const options of conditions) {
      expect(filter(options)(line)).toBe(true);
    }
    for (const options of [
      { path: '*' },
      { status: '429' },
      { outcome: 'shed' },
      { 'min-wait': '0' },
    ]) {
      expect(filter(options)(line)).toBe(false);
    }
  });

  test('rejects an invalid option, and states what was expected', () => {
    expect(reason({ status: '200,9xx' })).toBe(
      '--status: expected statuses such as 429 or 5xx, got 200,9xx',
    );
    expect(reason({ outcome: 'lost' })).toBe(
      '--outcome: expected some of answered, shed, failed, aborted, got lost',
    );
    expect(reason({ 'min-wait': '5' })).toContain('--min-wait: expected a duration');
    expect(reason({ since: 'yesterday' })).toContain('--since: expected a duration such as 15m');
    expect(reason({ since: '2026-02-30' })).toContain('--since');
    expect(reason({ top: '0' })).toBe('--top: expected a whole number from 1 to 500, got 0');
    expect(reason({ follow: '', summary: '' })).toBe(
      'expected one of --follow and --summary, got both',
    );
  });
});
