import { seededRandom } from './seeded-random.ts';

const METHODS = ['GET', 'GET', 'GET', 'POST', 'PATCH'] as const;
const ROUTES = ['/domains', '/edge_applications', '/purge/url', '/variables', '/edge_nodes'];

/**
 * The lines of a busy gateway, without end and always the same: sixty callers, a long tail of made-up
 * ones, waits, sheds, and now and then a 429 of the API.
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

/** The first `count` of these lines. */
export function logLines(count: number, seed = 1): string[] {
  const lines: string[] = [];
  for (const line of makeLogLines(seed)) {
    if (lines.length >= count) break;
    lines.push(line);
  }
  return lines;
}
