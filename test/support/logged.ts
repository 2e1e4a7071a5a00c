import type { LoggedCall, LoggedThrottle } from '../../src/logs/log-line.ts';

/** A call as it was read from a log, but for what a test says. */
export function loggedCall(changes: Partial<LoggedCall> = {}): LoggedCall {
  return {
    kind: 'call',
    atMs: Date.UTC(2026, 10, 24, 6, 26),
    id: 'id-1',
    caller: 'billing',
    bucket: 'own:read',
    method: 'GET',
    path: '/domains/17',
    query: '',
    status: 200,
    outcome: 'answered',
    code: undefined,
    attempts: 1,
    waitMs: 0,
    upstreamMs: 80,
    totalMs: 81,
    limit: 80,
    remaining: 17,
    waiting: 0,
    ...changes,
  };
}

/** The warning about a 429 as it was read from a log, but for what a test says. */
export function loggedThrottle(changes: Partial<LoggedThrottle> = {}): LoggedThrottle {
  return {
    kind: 'throttled',
    atMs: Date.UTC(2026, 10, 24, 6, 26),
    id: 'id-1',
    caller: 'billing',
    bucket: 'own:read',
    attempt: 1,
    scope: 'bucket',
    retryAfterMs: 5000,
    ...changes,
  };
}
