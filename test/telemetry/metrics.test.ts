import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { PROBLEMS } from '../../src/gateway/problem.ts';
import { ApiClock } from '../../src/rate-headers/api-clock.ts';
import type { BucketSnapshot } from '../../src/ledger/ledger.ts';
import type { CallLine } from '../../src/telemetry/call-line.ts';
import { LedgerMonitor } from '../../src/telemetry/ledger-monitor.ts';
import { makeMetrics } from '../../src/telemetry/metrics.ts';
import { callLine } from '../support/log-fixtures.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { needs } from '../support/tools.ts';

function setUp({
  processFigures = false,
  apiNames = [],
}: { processFigures?: boolean; apiNames?: readonly string[] } = {}) {
  const clock = new FakeClock();
  const apiClock = new ApiClock();
  const ledgerMonitor = new LedgerMonitor();
  const buckets: BucketSnapshot[] = [];
  const state = {
    laneQueued: 0,
    bufferedBytes: 0,
    lost: 0,
    connections: { open: 0, refused: { all: 0, address: 0 } },
    authFailures: { callers: 0, admin: 0 },
  };
  const metrics = makeMetrics({
    clock,
    apiNames,
    apis: () => [{ apiClock, lessons: () => [] }],
    ledger: { snapshot: () => buckets },
    ledgerMonitor,
    laneQueued: () => state.laneQueued,
    bufferedBytes: () => state.bufferedBytes,
    connections: () => state.connections,
    authFailures: () => state.authFailures,
    logLinesLost: () => state.lost,
    processFigures,
    version: '1.2.3',
    scheme: 'http',
  });
  const text = async (accept?: string): Promise<string> => (await metrics.expose(accept)).text;
  const record = (fields: Partial<CallLine>): void => metrics.record(callLine(fields));
  const observer = metrics.observe();
  return { clock, apiClock, ledgerMonitor, buckets, state, metrics, observer, text, record };
}

test('calls are counted by method, status class, outcome and caller', async () => {
  const { record, text } = setUp();
  record({});
  record({});
  record({ method: 'POST', status: 503, outcome: 'shed', code: 'queue-full', attempts: 0 });
  record({ status: 0, outcome: 'aborted', method: 'BREW' });
  const lines = (await text()).split('\n');
  expect(lines).toEqual(
    expect.arrayContaining([
      'headgate_calls_total{method="GET",status_class="2xx",outcome="answered",caller="reports"} 2',
      'headgate_calls_total{method="POST",status_class="5xx",outcome="shed",caller="reports"} 1',
      'headgate_calls_total{method="other",status_class="none",outcome="aborted",caller="reports"} 1',
      'headgate_sheds_total{code="queue-full"} 1',
      'headgate_sheds_total{code="wait-too-long"} 0',
    ]),
  );
});

test('failures are counted by code, apart from sheds', async () => {
  const { record, text } = setUp();
  record({ status: 502, outcome: 'failed', code: 'upstream-unreachable' });
  record({ status: 503, outcome: 'shed', code: 'queue-full', attempts: 0 });
  record({ status: 0, outcome: 'aborted', code: 'upstream-timeout' });
  const lines = (await text()).split('\n');
  expect(lines).toEqual(
    expect.arrayContaining([
      'headgate_failures_total{code="upstream-unreachable"} 1',
      'headgate_failures_total{code="upstream-timeout"} 0',
    ]),
  );
});

test('every code of a problem has a first sample of 0: a shed, or a failure', async () => {
  const { text } = setUp();
  const exposed = [
    ...(await text()).matchAll(/^(headgate_(?!would_)\w+_total)\{code="(.+)"\} 0$/gm),
  ];
  const metricOf = new Map(exposed.map(([, metric, code = '']) => [code, metric]));
  const expected = Object.entries(PROBLEMS).map(([code, { status }]): [string, string] => [
    code,
    status === 'shed' ? 'headgate_sheds_total' : 'headgate_failures_total',
  ]);
  expect(metricOf).toEqual(new Map(expected));
});

test('attempts are counted by result, and waits as shares of the time until the deadline', async () => {
  const { observer, text } = setUp();
  observer.attempted('timeout');
  observer.granted(0);
  observer.granted(0.8);
  const lines = (await text()).split('\n');
  expect(lines).toEqual(
    expect.arrayContaining([
      'headgate_attempts_total{result="timeout"} 1',
      'headgate_attempts_total{result="answered"} 0',
      'headgate_wait_deadline_ratio_bucket{le="0.1"} 1',
      'headgate_wait_deadline_ratio_bucket{le="0.75"} 1',
      'headgate_wait_deadline_ratio_bucket{le="0.9"} 2',
    ]),
  );
});

test('accepted operations have a series for each of a hundred buckets', async () => {
  const { observer, text } = setUp();
  for (let i = 0; i < 1000; i++) observer.accepted(`bucket-${i}`, 'read');
  // A bucket that becomes busy replaces another one, whose series ends.
  for (let i = 0; i < 100; i++) observer.accepted('busy', 'write');
  const series = (await text())
    .split('\n')
    .filter((line) => line.startsWith('headgate_bucket_accepted_total{'));
  expect(series).toHaveLength(102);
  expect(series).toContain('headgate_bucket_accepted_total{bucket="other",class="read"} 900');
  expect(series.some((line) => line.includes('bucket="busy",class="write"'))).toBe(true);
});

test('of several APIs, each has its own series', async () => {
  const { metrics, record, text } = setUp({ apiNames: ['one', 'two'] });
  const observer = metrics.observe('two');
  observer.attempted('timeout');
  observer.accepted('two:own:read', 'read');
  observer.throttled('read');
  record({ api: 'two', outcome: 'failed', status: 504, code: 'upstream-timeout' });
  record({ api: 'one', outcome: 'shed', status: 503, code: 'queue-full' });
  record({ outcome: 'failed', status: 404, code: 'no-route' });
  expect((await text()).split('\n')).toEqual(
    expect.arrayContaining([
      'headgate_attempts_total{result="timeout",api="one"} 0',
      'headgate_attempts_total{result="timeout",api="two"} 1',
      'headgate_bucket_accepted_total{bucket="two:own:read",class="read",api="two"} 1',
      'headgate_upstream_throttled_total{class="read",api="two"} 1',
      'headgate_failures_total{code="upstream-timeout",api="one"} 0',
      'headgate_failures_total{code="upstream-timeout",api="two"} 1',
      'headgate_failures_total{code="no-route",api=""} 1',
      'headgate_sheds_total{code="queue-full",api="one"} 1',
    ]),
  );
});

test('a hundred callers have their own series, with any number of names', async () => {
  const { record, text } = setUp();
  for (let i = 0; i < 5000; i++) record({ caller: `caller-${i}` });
  const series = (await text())
    .split('\n')
    .filter((line) => line.startsWith('headgate_calls_total{'));
  expect(series).toHaveLength(101);
  expect(series.find((line) => line.includes('caller="other"'))).toMatch(/ 4900$/);
});

test("a caller that becomes busy gets a series in another's place", async () => {
  const { record, text } = setUp();
  for (let i = 0; i < 100; i++) record({ caller: `caller-${i}` });
  for (let i = 0; i < 20; i++) record({ caller: 'busy', method: i % 2 === 0 ? 'GET' : 'POST' });
  const series = (await text())
    .split('\n')
    .filter((line) => line.startsWith('headgate_calls_total{'));
  expect(series.filter((line) => line.includes('caller="busy"'))).toHaveLength(2);
  expect(series.filter((line) => line.includes('caller="caller-'))).toHaveLength(99);
});

test('a label value with a quote, a backslash or a line break is escaped', async () => {
  const { record, text } = setUp();
  record({ caller: 'a"b\\c\nd' });
  expect(await text()).toContain('caller="a\\"b\\\\c\\nd"} 1\n');
});

test('durations are observed in seconds, and only if the call had them', async () => {
  const { record, text } = setUp();
  record({ waitMs: 90_000, upstreamMs: 3, totalMs: 90_004 });
  record({ bucket: undefined, attempts: 0, outcome: 'failed', totalMs: 1 });
  const lines = (await text()).split('\n');
  expect(lines).toEqual(
    expect.arrayContaining([
      'headgate_wait_seconds_bucket{le="60"} 0',
      'headgate_wait_seconds_bucket{le="120"} 1',
      'headgate_wait_seconds_count 1',
      'headgate_upstream_seconds_bucket{le="0.0025"} 0',
      'headgate_upstream_seconds_bucket{le="0.005"} 1',
      'headgate_upstream_seconds_count 1',
      'headgate_total_seconds_count 2',
    ]),
  );
});

test('429s and retries are counted when they happen', async () => {
  const { observer, text } = setUp();
  observer.throttled('write');
  observer.retry('throttled');
  observer.retry('failed');
  const lines = (await text()).split('\n');
  expect(lines).toEqual(
    expect.arrayContaining([
      'headgate_upstream_throttled_total{class="write"} 1',
      'headgate_retries_total{because="throttled"} 1',
      'headgate_retries_total{because="failed"} 1',
      'headgate_retries_total{because="stale"} 0',
    ]),
  );
});

test("a bucket's numbers are current, and disappear with the bucket", async () => {
  const { buckets, text } = setUp();
  buckets.push({
    id: 'abc:read',
    class: 'read',
    limit: 80,
    remaining: 12,
    resetInMs: 1500,
    leases: 3,
    waiting: 7,
    waitingHereByCaller: {},
  });
  const labels = '{bucket="abc:read",class="read"}';
  const lines = (await text()).split('\n');
  expect(lines).toEqual(
    expect.arrayContaining([
      `headgate_bucket_limit${labels} 80`,
      `headgate_bucket_remaining${labels} 12`,
      `headgate_bucket_reset_seconds${labels} 1.5`,
      `headgate_bucket_leases${labels} 3`,
      `headgate_bucket_waiting${labels} 7`,
    ]),
  );
  buckets.length = 0;
  expect(await text()).not.toContain('abc:read');
});

test('the hundred busiest buckets have their own series, and the others are summed', async () => {
  const { buckets, text } = setUp();
  for (let i = 0; i < 1000; i++) {
    buckets.push({
      id: `b${i}:read`,
      class: 'read',
      limit: 80,
      remaining: 1,
      leases: 0,
      waiting: i === 999 ? 5 : 0,
      waitingHereByCaller: {},
    });
  }
  const lines = (await text()).split('\n');
  expect(lines.filter((line) => line.startsWith('headgate_bucket_limit{'))).toHaveLength(101);
  expect(lines).toContain('headgate_bucket_waiting{bucket="b999:read",class="read"} 5');
  expect(lines).toContain('headgate_bucket_remaining{bucket="other",class="read"} 900');
});

test("the API's clock, the ledger, the lane, buffers, connections, auth failures and lost lines are exposed", async () => {
  const { clock, apiClock, ledgerMonitor, state, text } = setUp();
  const receivedAt = clock.now();
  // The API is an hour ahead.
  apiClock.observe({ dateMs: clock.wallMs() + 3_600_000, sentAt: receivedAt, receivedAt });
  const observer = ledgerMonitor.observe();
  observer.mode('local');
  observer.step(3, 17);
  const connections = { open: 7, refused: { all: 3, address: 1 } };
  const authFailures = { callers: 5, admin: 1 };
  Object.assign(state, { laneQueued: 4, bufferedBytes: 1024, lost: 2, connections, authFailures });
  expect((await text()).split('\n')).toEqual(
    expect.arrayContaining([
      'headgate_api_clock_offset_seconds 3600.5',
      'headgate_api_clock_uncertainty_seconds 1',
      'headgate_auth_failures_total{listener="callers"} 5',
      'headgate_auth_failures_total{listener="admin"} 1',
      'headgate_connections 7',
      'headgate_connections_refused_total{bound="all"} 3',
      'headgate_connections_refused_total{bound="address"} 1',
      'headgate_ledger_mode{mode="memory"} 0',
      'headgate_ledger_mode{mode="redis"} 0',
      'headgate_ledger_mode{mode="local"} 1',
      'headgate_ledger_step_seconds_bucket{le="0.005"} 1',
      'headgate_ledger_step_tickets_bucket{le="16"} 0',
      'headgate_ledger_step_tickets_bucket{le="32"} 1',
      'headgate_lane_queued 4',
      'headgate_buffered_bytes 1024',
      'headgate_log_lines_lost_total 2',
    ]),
  );
  state.lost = 5;
  expect(await text()).toContain('headgate_log_lines_lost_total 5\n');
});

test(
  'docs/metrics.md has every metric, and promtool finds no problem',
  { tags: needs('promtool') },
  async () => {
    const { record, text } = setUp();
    record({});
    const exposed = await text();
    const names = [...exposed.matchAll(/^# TYPE (\S+) /gm)].map(([, name = '']) => name);
    const docs = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8');
    const documented = [...docs.matchAll(/^\| `((?:headgate|http)_\w+)`/gm)].map(
      ([, name = '']) => name,
    );
    expect(documented.toSorted()).toEqual(names.toSorted());
    const problems = execFileSync('promtool', ['check', 'metrics'], {
      input: exposed,
      encoding: 'utf8',
    });
    expect(problems).toBe('');
  },
);

test('process and event-loop metrics are exposed on request', async () => {
  const { text } = setUp({ processFigures: true });
  const exposed = await text();
  expect(exposed).toContain('\nprocess_cpu_seconds_total ');
  expect(exposed).toContain('\nprocess_resident_memory_bytes ');
  expect(exposed).toContain('\nnodejs_eventloop_lag_p99_seconds ');
});

test('a scraper that accepts OpenMetrics gets it, and the other format does not change', async () => {
  const { metrics, record, text } = setUp();
  record({});
  const { contentType, text: open } = await metrics.expose(
    'application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5',
  );
  expect(contentType).toMatch(/^application\/openmetrics-text/);
  expect(open).toContain('# TYPE headgate_calls counter\nheadgate_calls_total{');
  expect(open).toMatch(/\n# EOF\n$/);
  expect(open).not.toContain('\n\n');
  expect(await text()).toContain('# TYPE headgate_calls_total counter\nheadgate_calls_total{');
});

test('requests and attempts are measured under the names of the conventions', async () => {
  const { record, metrics, text } = setUp();
  record({ status: 200, totalMs: 20 });
  record({ method: 'BREW', status: 502, outcome: 'failed', code: 'upstream-timeout' });
  const measureAttempt = metrics.attemptsAt('https://api.example');
  measureAttempt('GET', { kind: 'lost', reason: 'reset', error: new Error('reset') }, 30);
  const lines = (await text()).split('\n');
  const server = 'http_server_request_duration_seconds_count';
  expect(lines).toEqual(
    expect.arrayContaining([
      `${server}{http_request_method="GET",http_response_status_code="200",error_type="",url_scheme="http"} 1`,
      `${server}{http_request_method="_OTHER",http_response_status_code="502",error_type="upstream-timeout",url_scheme="http"} 1`,
      'http_client_request_duration_seconds_sum{http_request_method="GET",http_response_status_code="",error_type="reset",server_address="api.example",server_port="443"} 0.03',
    ]),
  );
});

test('what runs, and how reloads ended, can be read', async () => {
  const { metrics, text } = setUp();
  metrics.reloaded('refused');
  const lines = (await text()).split('\n');
  expect(lines).toContain(`headgate_build_info{version="1.2.3",node="${process.versions.node}"} 1`);
  expect(lines).toContain('headgate_reloads_total{result="applied"} 0');
  expect(lines).toContain('headgate_reloads_total{result="refused"} 1');
});
