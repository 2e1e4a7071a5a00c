import type { CallLine } from '../../src/telemetry/call-line.ts';

/** A call that went well, but for what a test says of it. */
export function callLine(said: Partial<CallLine> = {}): CallLine {
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
    upstreamMs: 20,
    totalMs: 21,
    bytesIn: 0,
    bytesOut: 100,
    limit: 80,
    remaining: 79,
    resetInMs: 60_000,
    waiting: 0,
    ...said,
  };
}
