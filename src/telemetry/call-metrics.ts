import { BoundedLabels, OTHER } from './bounded-labels.ts';
import type { CallRecorder } from './call-line.ts';
import type { Counter, Histogram, Metric, PerCallMetrics } from './per-call-metrics.ts';
import { ATTEMPT_RESULTS, type PipelineObserver } from './pipeline-observer.ts';

/** How many callers have their own series; the rest share the label `other`. */
const CALLERS_NAMED = 100;
/** How many buckets have their own series of accepted operations, as their gauges do. */
const BUCKETS_NAMED = 100;
const METHODS = new Set('GET HEAD POST PUT PATCH DELETE OPTIONS TRACE CONNECT'.split(' '));
/** The label of a call that belongs to none of several APIs. */
const NO_API = '';
const STATUS_CLASSES = ['none', '1xx', '2xx', '3xx', '4xx', '5xx'];
const SHED_CODES = [
  'queue-full',
  'wait-too-long',
  'caller-quota',
  'draining',
  'not-replayable',
  'body-memory-full',
  'too-many-calls',
  'too-many-tunnels',
  'too-many-buckets',
  'too-many-buckets-of-owner',
];
/** The codes of calls that end as `failed`: the API's failures, the caller's, and our own. */
const FAILURE_CODES = [
  'upstream-unreachable',
  'upstream-protocol',
  'upstream-timeout',
  'drain-timeout',
  'socket-share',
  'bad-request',
  'cost-too-high',
  'body-timeout',
  'body-too-large',
  'expectation-failed',
  'forbidden-target',
  'no-route',
  'websocket-not-supported',
  'unknown-caller',
  'too-many-unknown-keys',
  'cross-site',
  'foreign-host',
  'headers-too-large',
  'loop',
  'misdirected',
  'proxy-key-required',
  'tunnel-failed',
  'method-not-supported',
  'request-timeout',
  'target-too-long',
  'internal',
];
/** From the milliseconds of a fast call to the minutes that a call may wait. */
const SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 90, 120,
  300, 600,
];
/** Shares of the time until a deadline. */
const SHARES = [0.1, 0.25, 0.5, 0.75, 0.9, 1];

/** Counts finished calls, and events within calls. */
export interface CallMetrics {
  readonly record: CallRecorder;
  /** Observes the calls of this API. `api`: its name, if there are several. */
  observe(api?: string): PipelineObserver;
}

/**
 * Adds the metrics of calls. Their names are documented in docs/metrics.md and do not change.
 * `apis` are the names of several APIs, which become a label; empty: there is one, and no label.
 */
export function makeCallMetrics(metrics: PerCallMetrics, apis: readonly string[]): CallMetrics {
  const apiLabel = apis.length === 0 ? [] : ['api'];
  const calls = metrics.counter('headgate_calls_total', 'Finished calls.', [
    'method',
    'status_class',
    'outcome',
    'caller',
    ...apiLabel,
  ]);
  const wait = seconds(
    'headgate_wait_seconds',
    'Time a call spent in the queue and the lane.',
  ).with();
  const upstream = seconds(
    'headgate_upstream_seconds',
    "Time a call spent between sending and the API's headers, over all attempts.",
  ).with();
  const share = metrics
    .histogram(
      'headgate_wait_deadline_ratio',
      'At each grant: the share of the time until its deadline that the request had waited.',
      SHARES,
    )
    .with();
  const total = seconds('headgate_total_seconds', "Time from a call's arrival to its end.").with();
  const failures = metrics.counter(
    'headgate_failures_total',
    'Calls that got an error of Headgate other than a shed, or whose answer broke off.',
    ['code', ...apiLabel],
  );
  const attempts = metrics.counter(
    'headgate_attempts_total',
    'Requests sent to the API, by what became of them.',
    ['result', ...apiLabel],
  );
  const accepted = metrics.counter(
    'headgate_bucket_accepted_total',
    'Operations that the API accepted: answers that do not throttle.',
    ['bucket', 'class', ...apiLabel],
  );
  const throttled = metrics.counter(
    'headgate_upstream_throttled_total',
    'Attempts that the API throttled, with 429 or another status.',
    ['class', ...apiLabel],
  );
  const sheds = metrics.counter(
    'headgate_sheds_total',
    'Calls refused because waiting could not succeed.',
    ['code', ...apiLabel],
  );
  const retries = metrics.counter(
    'headgate_retries_total',
    'Further attempts, by what made them necessary.',
    ['because'],
  );
  const reserved = metrics.counter(
    'headgate_reserve_calls_total',
    'Calls that used what was kept for owners that use little, or waited until it was released.',
    ['end', ...apiLabel],
  );
  const impatient = metrics
    .counter(
      'headgate_patience_sheds_total',
      "Calls refused before their client's own timeout, whose length was learned.",
    )
    .with();
  const quotaSheds = metrics.counter(
    'headgate_quota_sheds_total',
    'Calls refused because the quota of their caller was used up.',
    ['caller'],
  );
  const wouldWait = seconds(
    'headgate_would_wait_seconds',
    'In observe mode: time a call would have waited, by the forecast.',
  ).with();
  const wouldShed = metrics.counter(
    'headgate_would_shed_total',
    'In observe mode: calls that would have been refused.',
    ['code'],
  );
  // Without a first sample of 0, the rate of a new series misses its first event, and so do alerts.
  for (const code of SHED_CODES) wouldShed.with(code);
  for (const api of apis.length === 0 ? [[]] : [NO_API, ...apis].map((name) => [name])) {
    for (const code of SHED_CODES) sheds.with(code, ...api);
    for (const code of FAILURE_CODES) failures.with(code, ...api);
  }
  for (const api of apis.length === 0 ? [[]] : apis.map((name) => [name])) {
    for (const result of ATTEMPT_RESULTS) attempts.with(result, ...api);
    for (const end of ['used', 'released']) reserved.with(end, ...api);
  }
  for (const because of ['throttled', 'stale', 'failed']) retries.with(because);

  const callers = new BoundedLabels(CALLERS_NAMED, (caller) => {
    calls.remove('caller', caller);
    quotaSheds.remove('caller', caller);
  });
  const buckets = new BoundedLabels(BUCKETS_NAMED, (bucket) => accepted.remove('bucket', bucket));

  function seconds(name: string, help: string): Metric<Histogram> {
    return metrics.histogram(name, help, SECONDS);
  }

  /** The series of a metric with one label, and with that of the API if there are several. */
  function ofApi(metric: Metric<Counter>, value: string, api: string | undefined): Counter {
    return apis.length === 0 ? metric.with(value) : metric.with(value, api ?? NO_API);
  }

  return {
    record(line) {
      const { api, status, outcome, code } = line;
      const method = METHODS.has(line.method) ? line.method : OTHER;
      const statusClass = STATUS_CLASSES[Math.floor(status / 100)] ?? OTHER;
      const caller = callers.label(line.caller === '' ? 'unknown' : line.caller);
      const series =
        apis.length === 0
          ? calls.with(method, statusClass, outcome, caller)
          : calls.with(method, statusClass, outcome, caller, api ?? NO_API);
      series.inc();
      total.observe(line.totalMs / 1000);
      // A call that was rejected before it had a bucket neither waited nor was sent.
      if (line.bucket !== undefined) wait.observe(line.waitMs / 1000);
      if (line.attempts > 0) upstream.observe(line.upstreamMs / 1000);
      if (line.wouldWaitMs !== undefined) wouldWait.observe(line.wouldWaitMs / 1000);
      if (line.wouldShed !== undefined) wouldShed.with(line.wouldShed).inc();
      if (outcome === 'shed' && code !== undefined) ofApi(sheds, code, api).inc();
      if (code === 'caller-quota') quotaSheds.with(caller).inc();
      if (code === 'wait-too-long' && line.patienceMs !== undefined) impatient.inc();
      if (line.fromReserve === true) ofApi(reserved, 'used', api).inc();
      if (line.waitedFor === 'reserve') ofApi(reserved, 'released', api).inc();
      if (outcome === 'failed' && code !== undefined) ofApi(failures, code, api).inc();
    },
    observe: (api) => ({
      granted: (of) => share.observe(of),
      attempted: (result) => ofApi(attempts, result, api).inc(),
      accepted(bucket, className) {
        const named = buckets.label(bucket);
        const series =
          apis.length === 0
            ? accepted.with(named, className)
            : accepted.with(named, className, api ?? NO_API);
        series.inc();
      },
      throttled: (className) => ofApi(throttled, className, api).inc(),
      retry: (because) => retries.with(because).inc(),
    }),
  };
}
