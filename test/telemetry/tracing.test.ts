import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { planTracing } from '../../src/telemetry/tracing.ts';
import { ask } from '../support/ask.ts';
import { startAzion, type Azion } from '../support/azion.ts';
import { startGatewayProcess, type GatewayProcess } from '../support/gateway-process.ts';
import {
  startOtlpReceiver,
  type OtlpReceiver,
  type ReceivedSpan,
} from '../support/otlp-receiver.ts';

const SERVER = 2;
const CLIENT = 3;
const ERROR = 2;
const CALLERS_TRACE = '0af7651916cd43dd8448eb211c80319c';
const CALLERS_SPAN = 'b7ad6b7169203331';
const TRACEPARENT = `00-${CALLERS_TRACE}-${CALLERS_SPAN}-01`;
const LIST_MODULES = fileURLToPath(new URL('../support/list-modules.ts', import.meta.url));

let api: Azion;
let receiver: OtlpReceiver;
let gateway: GatewayProcess | undefined;
beforeEach(async () => {
  api = await startAzion({
    semantics: 'fixed',
    limits: { read: { limit: 2, periodMs: 5000 }, write: { limit: 9, periodMs: 60_000 } },
  });
  receiver = await startOtlpReceiver();
});
afterEach(async () => {
  await gateway?.stop();
  gateway = undefined;
  await receiver.close();
  await api.close();
});

async function start(settings: Readonly<Record<string, string>>): Promise<GatewayProcess> {
  gateway = await startGatewayProcess({ upstream: api.url, settings });
  return gateway;
}

function traced(more: Readonly<Record<string, string>> = {}): Promise<GatewayProcess> {
  return start({
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    OTEL_BSP_SCHEDULE_DELAY: '50',
    ...more,
  });
}

async function call(
  { url }: GatewayProcess,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<void> {
  await ask(url + path, { headers: { Authorization: 'token abc', ...headers } });
}

/** The span of the call to this path, and its children in the order in which they began. */
async function traceOf(path: string): Promise<[call: ReceivedSpan, children: ReceivedSpan[]]> {
  await expect
    .poll(() => receiver.spans.some((span) => span.attributes['url.path'] === path))
    .toBe(true);
  const call = receiver.spans.find((span) => span.attributes['url.path'] === path);
  if (call === undefined) throw new Error(`no span for ${path}`);
  const children = receiver.spans
    .filter(({ parentSpanId }) => parentSpanId === call.spanId)
    .toSorted((a, b) => Number(a.startTimeUnixNano - b.startTimeUnixNano));
  return [call, children];
}

test.for<[string, Record<string, string>, object]>([
  ['nothing is set', {}, { kind: 'off' }],
  ['an endpoint is set', { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c' }, { kind: 'on' }],
  [
    'an endpoint for traces is set',
    { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://c' },
    { kind: 'on' },
  ],
  ['the endpoint is empty', { OTEL_EXPORTER_OTLP_ENDPOINT: '' }, { kind: 'off' }],
  [
    'the SDK is disabled',
    { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c', OTEL_SDK_DISABLED: 'True' },
    { kind: 'off' },
  ],
  [
    'the exporter is none',
    { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c', OTEL_TRACES_EXPORTER: 'none' },
    { kind: 'off' },
  ],
  [
    'the exporter is not supported',
    { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c', OTEL_TRACES_EXPORTER: 'zipkin' },
    { kind: 'refused', problem: 'OTEL_TRACES_EXPORTER: expected otlp or none, got "zipkin"' },
  ],
  [
    'the protocol is not HTTP',
    { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c', OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' },
    {
      kind: 'refused',
      problem: 'OTEL_EXPORTER_OTLP_PROTOCOL: expected http/protobuf or http/json, got "grpc"',
    },
  ],
  [
    'the protocol for traces is set',
    {
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c',
      OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
      OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/json',
    },
    { kind: 'on', protocol: 'http/json' },
  ],
])('tracing is planned when %s', ([, env, plan]) => {
  expect(planTracing(env)).toMatchObject(plan);
});

test("a call is a span under the caller's, with children for ledger and attempt", async () => {
  const running = await traced({ OTEL_SERVICE_NAME: 'canal' });
  await call(running, '/domains', { traceparent: TRACEPARENT, 'Headgate-Caller': 'reports' });
  const [span, children] = await traceOf('/domains');
  expect(span).toMatchObject({
    name: 'GET read',
    kind: SERVER,
    traceId: CALLERS_TRACE,
    parentSpanId: CALLERS_SPAN,
    attributes: {
      'http.request.method': 'GET',
      'http.response.status_code': 200,
      'url.scheme': 'http',
      'network.protocol.version': '1.1',
      'headgate.caller': 'reports',
      'headgate.outcome': 'answered',
      'headgate.attempts': 1,
    },
  });
  expect(children.map(({ name }) => name)).toEqual(['ledger', 'attempt GET']);
  const attempt = children[1];
  expect(attempt).toMatchObject({
    kind: CLIENT,
    traceId: CALLERS_TRACE,
    attributes: {
      'http.request.method': 'GET',
      'http.response.status_code': 200,
      'server.address': '127.0.0.1',
      'server.port': Number(new URL(api.url).port),
      'url.full': `${api.url}/domains`,
    },
  });
  expect(api.seen[0]?.headers['traceparent']).toBe(`00-${CALLERS_TRACE}-${attempt?.spanId}-01`);
  expect(receiver.requests[0]?.path).toBe('/v1/traces');
  expect(receiver.resource).toMatchObject({ 'service.name': 'canal' });
});

test('a call that waits has a span for its time in the queue', async () => {
  const running = await traced();
  await call(running, '/domains');
  await call(running, '/domains');
  await call(running, '/edge_applications');
  const [span, children] = await traceOf('/edge_applications');
  const names = children.map(({ name }) => name);
  expect(names).toEqual(
    ['ledger', 'queue', 'lane', 'attempt GET'].filter((n) => names.includes(n)),
  );
  const queue = children.find(({ name }) => name === 'queue');
  expect(queue?.attributes['headgate.admission']).toBe('granted');
  expect(Number(span.attributes['headgate.wait_ms'])).toBeGreaterThan(100);
  const tookMs = Number((queue?.endTimeUnixNano ?? 0n) - (queue?.startTimeUnixNano ?? 0n)) / 1e6;
  expect(tookMs).toBeGreaterThan(100);
  expect(tookMs).toBeLessThanOrEqual(Number(span.attributes['headgate.wait_ms']) + 1);
});

test('a call whose caller disconnects in the queue has a queue span that says so', async () => {
  const running = await traced();
  api.consume('token abc', 'write', 9);
  const caller = new AbortController();
  const aborted = ask(`${running.url}/edge_firewall`, {
    method: 'POST',
    headers: { Authorization: 'token abc' },
    signal: caller.signal,
  }).catch(() => 'aborted');
  await expect
    .poll(async () => (await ask(`${running.adminUrl}/buckets`)).text)
    .toContain('"waiting":1');
  caller.abort();
  expect(await aborted).toBe('aborted');
  const [span, children] = await traceOf('/edge_firewall');
  expect(span.attributes['headgate.outcome']).toBe('aborted');
  const last = children.at(-1);
  expect([last?.name, last?.attributes['headgate.admission']]).toEqual(['queue', 'left']);
});

test('each attempt is a span: one for the 429, and one for the answer', async () => {
  const running = await traced();
  await call(running, '/digital_certificates');
  api.consume('token abc', 'read', 1);
  await call(running, '/domains');
  const [, children] = await traceOf('/domains');
  const attempts = children.filter(({ kind }) => kind === CLIENT);
  expect(attempts.map(({ attributes }) => attributes['http.response.status_code'])).toEqual([
    429, 200,
  ]);
  expect(attempts[0]?.status.code).toBe(ERROR);
  expect(attempts[1]?.attributes['http.request.resend_count']).toBe(1);
});

test('a call without a traceparent starts a trace, and the API receives its context', async () => {
  const running = await traced();
  await call(running, '/domains');
  const [span] = await traceOf('/domains');
  expect(span.parentSpanId ?? '').toBe('');
  expect(api.seen[0]?.headers['traceparent']).toContain(span.traceId);
});

test('a failed call is an error with its code', async () => {
  const running = await traced();
  api.failNext('reset-after-read');
  await ask(`${running.url}/domains`, {
    method: 'POST',
    headers: { Authorization: 'token abc' },
    body: '{}',
  });
  const [span] = await traceOf('/domains');
  expect(span.status.code).toBe(ERROR);
  expect(span.attributes['error.type']).toBe('upstream-unreachable');
  expect(span.attributes['headgate.outcome']).toBe('failed');
});

test('spans are sent as protobuf by default, and the last ones at shutdown', async () => {
  const running = await start({
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${receiver.url}/traces-here`,
    OTEL_BSP_SCHEDULE_DELAY: '60000',
    HEADGATE_DRAIN_DELAY: '0',
  });
  await call(running, '/domains');
  running.kill('SIGTERM');
  expect(await running.ended).toEqual({ code: 0, signal: null });
  const [sent] = receiver.requests;
  expect(sent?.path).toBe('/traces-here');
  expect(sent?.type).toBe('application/x-protobuf');
  expect(sent?.body.includes('GET read')).toBe(true);
  expect(sent?.body.includes('headgate')).toBe(true);
});

test('without a reachable collector, calls succeed and the gateway stops', async () => {
  const running = await traced({
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9',
    HEADGATE_DRAIN_DELAY: '0',
  });
  const { status } = await ask(`${running.url}/domains`, {
    headers: { Authorization: 'token abc' },
  });
  expect(status).toBe(200);
  running.kill('SIGTERM');
  expect(await running.ended).toEqual({ code: 0, signal: null });
});

test('an unsupported protocol is logged, and the gateway runs without traces', async () => {
  const running = await traced({ OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' });
  const [line] = await running.log.wait('tracing is off', 1);
  expect(line?.['problem']).toBe(
    'OTEL_EXPORTER_OTLP_PROTOCOL: expected http/protobuf or http/json, got "grpc"',
  );
  await call(running, '/domains', { traceparent: TRACEPARENT });
  expect(api.seen[0]?.headers['traceparent']).toBe(TRACEPARENT);
});

test('without an endpoint the trace context passes unchanged, and no tracing library is loaded', async () => {
  const running = await start({ NODE_OPTIONS: `--import=${LIST_MODULES}` });
  await call(running, '/domains', { traceparent: TRACEPARENT, tracestate: 'vendor=1' });
  expect(api.seen[0]?.headers['traceparent']).toBe(TRACEPARENT);
  expect(api.seen[0]?.headers['tracestate']).toBe('vendor=1');
  // The metrics library loads the interface package, which does nothing by itself.
  expect(running.stderr).toBe('loaded @opentelemetry/api\n');
});

test('with an endpoint, the tracing libraries are loaded', async () => {
  const running = await traced({ NODE_OPTIONS: `--import=${LIST_MODULES}` });
  expect(running.stderr).toContain('loaded @opentelemetry/sdk-trace\n');
});

test('lines of the log have the ids of the span, and its URL has no secret part', async () => {
  const running = await traced();
  await call(running, '/tokens/very-secret?page=2', { traceparent: TRACEPARENT });
  const [line = {}] = await running.log.wait('call', 1);
  await expect.poll(() => receiver.spans.length).toBeGreaterThanOrEqual(3);
  const span = receiver.spans.find(({ kind }) => kind === SERVER);
  expect(line).toMatchObject({ trace_id: CALLERS_TRACE, span_id: span?.spanId });
  expect(line['span_id']).not.toBe(CALLERS_SPAN);
  expect(span?.attributes['url.query']).toBe('page=2');
  const attempt = receiver.spans.find(({ kind }) => kind === CLIENT);
  expect(String(attempt?.attributes['url.full'])).toMatch(/\/tokens\/\*\*\*\?page=2$/);
  expect(
    JSON.stringify(receiver.spans, (_, value: unknown) =>
      typeof value === 'bigint' ? String(value) : value,
    ),
  ).not.toContain('very-secret');
});

test("without traces of its own, the log has the ids of the caller's span", async () => {
  const running = await start({});
  await call(running, '/domains', { traceparent: TRACEPARENT });
  const [line = {}] = await running.log.wait('call', 1);
  expect(line).toMatchObject({ trace_id: CALLERS_TRACE, span_id: CALLERS_SPAN });
});
