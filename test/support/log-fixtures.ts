import type { LoggedCall, LoggedThrottle } from '../../src/logs/log-line.ts';
import type { CallLine } from '../../src/telemetry/call-line.ts';
import { seededRandom } from './seeded-random.ts';

/** A call as telemetry records it: answered with 200, apart from the given fields. */
export function callLine(changes: Partial<CallLine> = {}): CallLine {
  return {
    id: 'c1',
    caller: 'reports',
    bucket: '0123456789abcdef:read',
    class: 'read',
    priority: 'normal',
    method: 'GET',
    path: '/domains',
    query: '',
    status: 200,
    outcome: 'answered',
    code: undefined,
    attempts: 1,
    waitMs: 0,
    retryMs: 0,
    upstreamMs: 20,
    totalMs: 21,
    bytesIn: 0,
    bytesOut: 100,
    limit: 80,
    remaining: 79,
    resetInMs: 60_000,
    waiting: 0,
    credential: undefined,
    cost: undefined,
    patienceMs: undefined,
    wouldWaitMs: undefined,
    wouldShed: undefined,
    trace_id: undefined,
    span_id: undefined,
    ...changes,
  };
}

/** A call as it was read from a log: answered with 200, apart from the given fields. */
export function loggedCall(changes: Partial<LoggedCall> = {}): LoggedCall {
  return {
    kind: 'call',
    atMs: Date.UTC(2026, 10, 24, 6, 26),
    id: 'id-1',
    api: '',
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
    cost: undefined,
    wouldWaitMs: undefined,
    wouldShed: undefined,
    ...changes,
  };
}

/** The warning about a 429 as it was read from a log, apart from the given fields. */
export function loggedThrottle(changes: Partial<LoggedThrottle> = {}): LoggedThrottle {
  return {
    kind: 'throttled',
    atMs: Date.UTC(2026, 10, 24, 6, 26),
    id: 'id-1',
    api: '',
    caller: 'billing',
    bucket: 'own:read',
    attempt: 1,
    scope: 'bucket',
    retryAfterMs: 5000,
    ...changes,
  };
}

const METHODS = ['GET', 'GET', 'GET', 'POST', 'PATCH'] as const;
const ROUTES = ['/domains', '/edge_applications', '/purge/url', '/variables', '/edge_nodes'];

/**
 * Generates the log of a busy gateway, endless and the same for one seed: sixty callers, many more
 * that call once, waits, shed calls, and a few 429s of the API.
 */
export function* makeLogLines(seed = 1): Generator<string> {
  const random = seededRandom(seed);
  const startMs = Date.UTC(2026, 10, 24);
  for (let n = 0; ; n++) {
    const time = new Date(startMs + n * 3).toISOString();
    const caller = random() < 0.01 ? `job-${n}` : `service-${Math.floor(random() ** 2 * 60)}`;
    const method = METHODS[Math.floor(random() * METHODS.length)] ?? 'GET';
    const route = ROUTES[Math.floor(random() * ROUTES.length)] ?? '/';
    const path = random() < 0.7 ? `${route}/${Math.floor(random() * 100_000)}` : route;
    const className = method === 'GET' ? 'read' : 'write';
    const bucket = `own:${className}`;
    const waitMs = random() < 0.3 ? Math.round(random() ** 3 * 600_000) / 10 : 0;
    const shed = random() < 0.01;
    const upstreamMs = shed ? 0 : Math.round(400 + random() ** 4 * 20_000) / 10;
    const id = `${n.toString(16).padStart(8, '0')}-0000-4000-8000-000000000000`;
    const head = {
      level: 'info',
      time,
      replica: 'gateway-1',
      id,
      caller,
      bucket,
      class: className,
    };
    if (random() < 0.001) {
      yield JSON.stringify({
        ...head,
        level: 'warn',
        attempt: 1,
        scope: 'bucket',
        msg: 'throttled',
      });
    }
    yield JSON.stringify({
      ...head,
      priority: 'normal',
      method,
      path,
      query: random() < 0.2 ? 'page=2&page_size=100' : '',
      status: shed ? 503 : 200,
      outcome: shed ? 'shed' : 'answered',
      ...(shed ? { code: 'wait-too-long' } : {}),
      attempts: shed ? 0 : 1,
      waitMs,
      retryMs: 0,
      upstreamMs,
      totalMs: Math.round((waitMs + upstreamMs) * 10) / 10 + 0.4,
      bytesIn: 0,
      bytesOut: 1234,
      limit: 200,
      remaining: Math.floor(random() * 200),
      resetInMs: Math.floor(random() * 60_000),
      waiting: Math.floor(random() * 50),
      msg: 'call',
    });
  }
}

/** The first `count` lines of this log. */
export function logLines(count: number, seed = 1): string[] {
  const lines: string[] = [];
  for (const line of makeLogLines(seed)) {
    if (lines.length >= count) break;
    lines.push(line);
  }
  return lines;
}
