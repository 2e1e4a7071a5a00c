import { expect, test } from 'vitest';
import { formatLines } from '../../src/telemetry/log-format.ts';
import type { LogFormat } from '../../src/util/log-settings.ts';
import { makeLog } from '../../src/telemetry/log.ts';
import { callLine } from '../support/log-fixtures.ts';
import { FakeClock } from '../support/fake-clock.ts';

const TRACE = { trace_id: '0af7651916cd43dd8448eb211c80319c', span_id: 'b7ad6b7169203331' };

/** What a log in this format has for a call, and for an error. */
function linesIn(format: LogFormat): [call: object, failure: object] {
  const lines: object[] = [];
  const destination = formatLines(format, {
    write: (line) => {
      expect(line.endsWith('\n')).toBe(true);
      lines.push(JSON.parse(line));
    },
  });
  const log = makeLog({ level: 'info', replica: 'gw-1', clock: new FakeClock(), destination });
  log.line(callLine({ id: 'c1', query: 'a=1', totalMs: 12.5, ...TRACE }), 'call');
  log.error({ id: 'c1', err: new TypeError('broken') }, 'internal failure');
  const [call = {}, failure = {}] = lines;
  return [call, failure];
}

test('ecs: a call and an error have the names of the Elastic Common Schema', () => {
  const [call, failure] = linesIn('ecs');
  expect(call).toMatchObject({
    '@timestamp': expect.stringMatching(/^\d{4}-.*Z$/),
    'log.level': 'info',
    message: 'call',
    'ecs.version': '8.11.0',
    'service.name': 'headgate',
    'service.node.name': 'gw-1',
    'trace.id': TRACE.trace_id,
    'span.id': TRACE.span_id,
    'http.request.id': 'c1',
    'http.request.method': 'GET',
    'http.response.status_code': 200,
    'url.query': 'a=1',
    'event.duration': 12_500_000,
    'event.outcome': 'success',
    headgate: { caller: 'reports', outcome: 'answered', waitMs: expect.any(Number) },
  });
  expect(failure).toMatchObject({
    'log.level': 'error',
    message: 'internal failure',
    'error.type': 'TypeError',
    'error.message': 'broken',
    'error.stack_trace': expect.stringContaining('log-format.test.ts'),
  });
});

test('gcp: a call has the special fields of Google Cloud, and keeps its own', () => {
  const [call, failure] = linesIn('gcp');
  expect(call).toMatchObject({
    severity: 'INFO',
    message: 'call',
    httpRequest: { requestMethod: 'GET', status: 200, latency: '0.0125s' },
    'logging.googleapis.com/trace': TRACE.trace_id,
    'logging.googleapis.com/spanId': TRACE.span_id,
    caller: 'reports',
    waitMs: expect.any(Number),
  });
  expect(failure).toMatchObject({ severity: 'ERROR', message: 'internal failure' });
  expect(failure).not.toHaveProperty('httpRequest');
});

test('native: lines pass as they are', () => {
  const [call] = linesIn('native');
  expect(call).toMatchObject({ level: 'info', msg: 'call', id: 'c1', ...TRACE });
});
