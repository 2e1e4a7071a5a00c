import { describe, expect, test } from 'vitest';
import { readLogLine } from '../../src/logs/log-line.ts';
import { makeLogLines } from '../support/log-fixtures.ts';

const CALL = {
  level: 'info',
  time: '2026-11-24T06:26:01.123Z',
  id: 'a',
  caller: 'billing',
  path: '/domains',
  method: 'GET',
  status: 200,
  outcome: 'answered',
  waitMs: 1.5,
  upstreamMs: 80,
  totalMs: 82,
  msg: 'call',
};

describe('a line of the log', () => {
  test('is parsed as a call, also without optional fields', () => {
    expect(readLogLine(JSON.stringify(CALL))).toEqual({
      kind: 'call',
      atMs: Date.UTC(2026, 10, 24, 6, 26, 1, 123),
      id: 'a',
      api: '',
      caller: 'billing',
      bucket: '',
      method: 'GET',
      path: '/domains',
      query: '',
      status: 200,
      outcome: 'answered',
      code: undefined,
      attempts: 0,
      waitMs: 1.5,
      upstreamMs: 80,
      totalMs: 82,
      limit: undefined,
      remaining: undefined,
      waiting: 0,
      cost: undefined,
      wouldWaitMs: undefined,
      wouldShed: undefined,
    });
  });

  test('is parsed as the warning about a 429', () => {
    const line = {
      level: 'warn',
      time: CALL.time,
      id: 'a',
      caller: 'billing',
      bucket: 'own:read',
      attempt: 2,
      scope: 'bucket',
      retryAfterMs: 5000,
      msg: 'throttled',
    };
    expect(readLogLine(JSON.stringify(line))).toMatchObject({
      kind: 'throttled',
      bucket: 'own:read',
      attempt: 2,
      retryAfterMs: 5000,
    });
  });

  test('about something else has its message, its call and all other fields', () => {
    const line = { level: 'warn', time: CALL.time, replica: 'r', id: 'a', reason: 'reset' };
    expect(readLogLine(JSON.stringify({ ...line, msg: 'attempt failed' }))).toEqual({
      kind: 'event',
      atMs: Date.UTC(2026, 10, 24, 6, 26, 1, 123),
      level: 'warn',
      msg: 'attempt failed',
      id: 'a',
      api: '',
      caller: '',
      bucket: '',
      details: { reason: 'reset' },
    });
  });

  test('of another program is `other`', () => {
    expect(readLogLine('{"level":"info","msg":"listening"}')).toEqual({ kind: 'other' });
    expect(readLogLine('{}')).toEqual({ kind: 'other' });
  });

  test('is broken if it is no object, is cut off, or lacks a required field', () => {
    const whole = JSON.stringify(CALL);
    const damaged = [
      'plain text',
      '[1]',
      'null',
      '"call"',
      whole.slice(0, -1),
      whole.slice(20),
      ...['time', 'id', 'path', 'status', 'outcome', 'waitMs', 'upstreamMs', 'totalMs'].map(
        (name) => JSON.stringify({ ...CALL, [name]: undefined }),
      ),
      JSON.stringify({ ...CALL, time: '2026-11-24T06:26:01' }),
      JSON.stringify({ ...CALL, outcome: 'lost' }),
      JSON.stringify({ ...CALL, status: '200' }),
    ];
    const accepted = damaged.filter((line) => readLogLine(line).kind !== 'broken');
    expect(accepted).toEqual([]);
  });

  test('never makes the parser throw, wherever it is cut off', () => {
    const { value: line = '' } = makeLogLines().next();
    const kinds = Array.from(
      { length: line.length },
      (_, end) => readLogLine(line.slice(0, end)).kind,
    );
    expect(new Set(kinds)).toEqual(new Set(['broken']));
  });
});
