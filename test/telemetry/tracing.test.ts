import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { planTracing } from '../../src/telemetry/tracing.ts';
import { ask, type Answer, type AskOptions } from '../support/ask.ts';
import { startAzion, type Azion, type SeenCall } from '../support/azion.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { startGatewayProcess, type GatewayProcess } from '../support/gateway-process.ts';
import {
  startOtlpReceiver,
  type OtlpReceiver,
  type ReceivedSpan,
} from '../support/otlp-receiver.ts';
import { bucketsOf, until } from '../support/setup.ts';

const SERVER = 2;
const CLIENT = 3;
const ERROR = 2;
const CALLERS_TRACE = '0af7651916cd43dd8448eb211c80319c';
const CALLERS_SPAN = 'b7ad6b7169203331';
const TRACEPARENT = `00-${CALLERS_TRACE}-${CALLERS_SPAN}-01`;
const LIST_MODULES = fileURLToPath(new URL('../support/list-modules.ts', import.meta.url));

/** A time that a call waits for its budget, really. */
const PERIOD_MS = 500;

/** The API's, which a test moves. */
const clock = new FakeClock();
let api: Azion;
let receiver: OtlpReceiver;
/** Sends its spans to the receiver. Each test has a credential and a path of its own. */
let traced: GatewayProcess;
beforeAll(async () => {
  api = await startAzion({
    clock,
    semantics: 'fixed',
    limits: { read: { limit: 2, periodMs: PERIOD_MS }, write: { limit: 9, periodMs: 60_000 } },
    dialect: { reset: 'delta-float' },
    dateHeader: false,
  });
  receiver = await startOtlpReceiver();
  traced = await startGatewayProcess({
    upstream: api.url,
    settings: {
      ...exportTo(receiver.url),
      OTEL_SERVICE_NAME: 'canal',
      NODE_OPTIONS: `--import=${LIST_MODULES}`,
    },
  });
});
afterAll(async () => {
  await traced.stop();
  await receiver.close();
  await api.close();
});

function exportTo(url: string): Record<string, string> {
  return {
    OTEL_EXPORTER_OTLP_ENDPOINT: url,
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    OTEL_BSP_SCHEDULE_DELAY: '50',
  };
}

/** Starts a gateway with other settings, for one test. */
async function start(settings: Readonly<Record<string, string>>): Promise<GatewayProcess> {
  const gateway = await startGatewayProcess({ upstream: api.url, settings });
  onTestFinished(() => gateway.stop());
  return gateway;
}

function call(
  { url }: GatewayProcess,
  path: string,
  headers: Readonly<Record<string, string>>,
  options: Pick<AskOptions, 'method' | 'body' | 'signal'> = {},
): Promise<Answer> {
  return ask(url + path, { headers, ...options });
}

/** Resolves when a call waits for its budget. */
async function untilWaiting(): Promise<void> {
  await until('a call waits', async () =>
    (await bucketsOf(traced)).some(({ waiting }) => waiting === 1),
  );
}

/** What the API received with this credential. */
function seenOf(authorization: string): SeenCall['headers'] | undefined {
  return api.seen.find(({ headers }) => headers.authorization === authorization)?.headers;
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
  const authorization = 'token span';
  await call(traced, '/domains', {
    authorization,
    traceparent: TRACEPARENT,
    'Headgate-Caller': 'reports',
  });
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
  const context = `00-${CALLERS_TRACE}-${attempt?.spanId}-01`;
  expect(seenOf(authorization)?.['traceparent']).toBe(context);
  expect(receiver.requests[0]?.path).toBe('/v1/traces');
  expect(receiver.resource).toMatchObject({ 'service.name': 'canal' });
});

test('a call that waits has a span for its time in the queue', async () => {
  const authorization = 'token waits';
  // The first call takes what is left, and is answered when the second one waits.
  api.consume(authorization, 'read', 1);
  api.failNext(`delay:${PERIOD_MS}`);
  const first = call(traced, '/origins', { authorization });
  await until('the API holds the first call', () => api.delayed === 1);
  const second = call(traced, '/edge_applications', { authorization });
  await untilWaiting();
  clock.advance(PERIOD_MS);
  await Promise.all([first, second]);
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
  const authorization = 'token disconnects';
  api.consume(authorization, 'write', 9);
  const caller = new AbortController();
  const options = { method: 'POST', signal: caller.signal };
  const aborted = call(traced, '/edge_firewall', { authorization }, options).catch(() => 'aborted');
  await untilWaiting();
  caller.abort();
  expect(await aborted).toBe('aborted');
  const [span, children] = await traceOf('/edge_firewall');
  expect(span.attributes['headgate.outcome']).toBe('aborted');
  const last = children.at(-1);
  expect([last?.name, last?.attributes['headgate.admission']]).toEqual(['queue', 'left']);
});

test('each attempt is a span: one for the 429, and one for the answer', async () => {
  api.failNext('throttle-bare');
  await call(traced, '/digital_certificates', { authorization: 'token throttled' });
  const [, children] = await traceOf('/digital_certificates');
  const attempts = children.filter(({ kind }) => kind === CLIENT);
  expect(attempts.map(({ attributes }) => attributes['http.response.status_code'])).toEqual([
    429, 200,
  ]);
  expect(attempts[0]?.status.code).toBe(ERROR);
  expect(attempts[1]?.attributes['http.request.resend_count']).toBe(1);
});

test('a call without a traceparent starts a trace, and the API receives its context', async () => {
  const authorization = 'token starts';
  await call(traced, '/variables', { authorization });
  const [span] = await traceOf('/variables');
  expect(span.parentSpanId ?? '').toBe('');
  expect(seenOf(authorization)?.['traceparent']).toContain(span.traceId);
});

test('a failed call is an error with its code', async () => {
  api.failNext('reset-after-read');
  const options = { method: 'POST', body: '{}' };
  await call(traced, '/network_lists', { authorization: 'token failed' }, options);
  const [span] = await traceOf('/network_lists');
  expect(span.status.code).toBe(ERROR);
  expect(span.attributes['error.type']).toBe('upstream-unreachable');
  expect(span.attributes['headgate.outcome']).toBe('failed');
});

test('lines of the log have the ids of the span, and its URL has no secret part', async () => {
  const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
  const headers = {
    authorization: 'token logged',
    traceparent: `00-${trace}-${CALLERS_SPAN}-01`,
  };
  const { headers: answered } = await call(traced, '/tokens/very-secret?page=2', headers);
  const id = String(answered['headgate-request-id']);
  await traced.log.waitUntil(() => traced.log.named('call').some((line) => line['id'] === id));
  const line = traced.log.named('call').find((each) => each['id'] === id) ?? {};
  const spans = (): ReceivedSpan[] => receiver.spans.filter(({ traceId }) => traceId === trace);
  await expect.poll(() => spans().length).toBeGreaterThanOrEqual(3);
  const span = spans().find(({ kind }) => kind === SERVER);
  expect(line).toMatchObject({ trace_id: trace, span_id: span?.spanId });
  expect(line['span_id']).not.toBe(CALLERS_SPAN);
  expect(span?.attributes['url.query']).toBe('page=2');
  const attempt = spans().find(({ kind }) => kind === CLIENT);
  expect(String(attempt?.attributes['url.full'])).toMatch(/\/tokens\/\*\*\*\?page=2$/);
  expect(
    JSON.stringify(receiver.spans, (_, value: unknown) =>
      typeof value === 'bigint' ? String(value) : value,
    ),
  ).not.toContain('very-secret');
});

test('with an endpoint, the tracing libraries are loaded', async () => {
  await expect.poll(() => traced.stderr).toContain('loaded @opentelemetry/sdk-trace\n');
});

test('spans are sent as protobuf by default, and the last ones at shutdown', async () => {
  const before = receiver.requests.length;
  const running = await start({
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${receiver.url}/traces-here`,
    OTEL_BSP_SCHEDULE_DELAY: '60000',
  });
  await call(running, '/domains', { authorization: 'token protobuf' });
  running.kill('SIGTERM');
  expect(await running.ended).toEqual({ code: 0, signal: null });
  const sent = receiver.requests.slice(before).find(({ path }) => path === '/traces-here');
  expect(sent?.type).toBe('application/x-protobuf');
  expect(sent?.body.includes('GET read')).toBe(true);
  expect(sent?.body.includes('headgate')).toBe(true);
});

test('without a reachable collector, calls succeed and the gateway stops', async () => {
  const running = await start(exportTo('http://127.0.0.1:9'));
  const { status } = await call(running, '/domains', { authorization: 'token unreachable' });
  expect(status).toBe(200);
  running.kill('SIGTERM');
  expect(await running.ended).toEqual({ code: 0, signal: null });
});

test('an unsupported protocol is logged, and the gateway runs without traces', async () => {
  const authorization = 'token unsupported';
  const settings = { ...exportTo(receiver.url), OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' };
  const running = await start(settings);
  const line = await running.log.first('tracing is off');
  expect(line['problem']).toBe(
    'OTEL_EXPORTER_OTLP_PROTOCOL: expected http/protobuf or http/json, got "grpc"',
  );
  await call(running, '/domains', { authorization, traceparent: TRACEPARENT });
  expect(seenOf(authorization)?.['traceparent']).toBe(TRACEPARENT);
});

test("without an endpoint the caller's context passes unchanged and is logged, and no tracing library is loaded", async () => {
  const authorization = 'token untraced';
  const running = await start({ NODE_OPTIONS: `--import=${LIST_MODULES}` });
  const headers = { authorization, traceparent: TRACEPARENT, tracestate: 'vendor=1' };
  await call(running, '/domains', headers);
  const seen = seenOf(authorization);
  expect([seen?.['traceparent'], seen?.['tracestate']]).toEqual([TRACEPARENT, 'vendor=1']);
  const line = await running.log.first('call');
  expect(line).toMatchObject({ trace_id: CALLERS_TRACE, span_id: CALLERS_SPAN });
  running.kill('SIGTERM');
  await running.ended;
  // The metrics library loads the interface package, which does nothing by itself.
  expect(running.stderr).toBe('loaded @opentelemetry/api\n');
});
