import { Counter, Histogram, type Registry } from '@prometheus-io/client';
import { BoundedLabels, OTHER } from './bounded-labels.ts';
import { CALL_OUTCOMES, type CallRecorder } from './call-line.ts';
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
  'draining',
  'not-replayable',
  'body-memory-full',
  'too-many-calls',
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
export interface CallMetrics extends PipelineObserver {
  readonly record: CallRecorder;
}

/**
 * Registers the metrics of calls. Their names are documented in docs/metrics.md and do not change.
 * `apis` are the names of several APIs, which become a label; empty: there is one, and no label.
 */
export function makeCallMetrics(registry: Registry, apis: readonly string[]): CallMetrics {
  const registers = [registry];
  const apiLabel = apis.length === 0 ? [] : ['api'];
  const labelOf = (api: string | undefined): { readonly api?: string } =>
    apis.length === 0 ? {} : { api: api ?? NO_API };
  const calls = new Counter({
    name: 'headgate_calls_total',
    help: 'Finished calls.',
    labelNames: ['method', 'status_class', 'outcome', 'caller', ...apiLabel],
    registers,
  });
  const wait = seconds('headgate_wait_seconds', 'Time a call spent in the queue and the lane.');
  const upstream = seconds(
    'headgate_upstream_seconds',
    "Time a call spent between sending and the API's headers, over all attempts.",
  );
  const share = new Histogram({
    name: 'headgate_wait_deadline_ratio',
    help: 'At each grant: the share of the time until its deadline that the request had waited.',
    buckets: SHARES,
    registers,
  });
  const total = seconds('headgate_total_seconds', "Time from a call's arrival to its end.");
  const failures = new Counter({
    name: 'headgate_failures_total',
    help: 'Calls that got an error of Headgate other than a shed, or whose answer broke off.',
    labelNames: ['code'],
    registers,
  });
  const attempts = new Counter({
    name: 'headgate_attempts_total',
    help: 'Requests sent to the API, by what became of them.',
    labelNames: ['result'],
    registers,
  });
  const accepted = new Counter({
    name: 'headgate_bucket_accepted_total',
    help: 'Operations that the API accepted: answers that do not throttle.',
    labelNames: ['bucket', 'class'],
    registers,
  });
  const throttled = new Counter({
    name: 'headgate_upstream_throttled_total',
    help: 'Attempts that the API throttled, with 429 or another status.',
    labelNames: ['class', ...apiLabel],
    registers,
  });
  const sheds = new Counter({
    name: 'headgate_sheds_total',
    help: 'Calls refused because waiting could not succeed.',
    labelNames: ['code'],
    registers,
  });
  const retries = new Counter({
    name: 'headgate_retries_total',
    help: 'Further attempts, by what made them necessary.',
    labelNames: ['because'],
    registers,
  });
  const wouldWait = seconds(
    'headgate_would_wait_seconds',
    'In observe mode: time a call would have waited, by the forecast.',
  );
  const wouldShed = new Counter({
    name: 'headgate_would_shed_total',
    help: 'In observe mode: calls that would have been refused.',
    labelNames: ['code'],
    registers,
  });
  // Without a first sample of 0, the rate of a new series misses its first event, and so do alerts.
  for (const code of SHED_CODES) {
    sheds.inc({ code }, 0);
    wouldShed.inc({ code }, 0);
  }
  for (const code of FAILURE_CODES) failures.inc({ code }, 0);
  for (const result of ATTEMPT_RESULTS) attempts.inc({ result }, 0);
  for (const because of ['throttled', 'stale', 'failed']) retries.inc({ because }, 0);

  const callers = new BoundedLabels(CALLERS_NAMED, (caller) => {
    for (const method of [...METHODS, OTHER]) {
      for (const statusClass of [...STATUS_CLASSES, OTHER]) {
        for (const outcome of CALL_OUTCOMES) {
          const labels = { method, status_class: statusClass, outcome, caller };
          if (apis.length === 0) calls.remove(labels);
          for (const api of [...apis, NO_API]) calls.remove({ ...labels, api });
        }
      }
    }
  });

  const classes = new Map<string, string>();
  const buckets = new BoundedLabels(BUCKETS_NAMED, (bucket) => {
    accepted.remove({ bucket, class: classes.get(bucket) ?? '' });
    classes.delete(bucket);
  });

  function seconds(name: string, help: string): Histogram {
    return new Histogram({ name, help, buckets: SECONDS, registers });
  }

  return {
    record(line) {
      const { api, method, status, outcome, caller, code } = line;
      calls.inc({
        method: METHODS.has(method) ? method : OTHER,
        status_class: STATUS_CLASSES[Math.floor(status / 100)] ?? OTHER,
        outcome,
        caller: callers.label(caller === '' ? 'unknown' : caller),
        ...labelOf(api),
      });
      total.observe(line.totalMs / 1000);
      // A call that was rejected before it had a bucket neither waited nor was sent.
      if (line.bucket !== undefined) wait.observe(line.waitMs / 1000);
      if (line.attempts > 0) upstream.observe(line.upstreamMs / 1000);
      if (line.wouldWaitMs !== undefined) wouldWait.observe(line.wouldWaitMs / 1000);
      if (line.wouldShed !== undefined) wouldShed.inc({ code: line.wouldShed });
      if (outcome === 'shed' && code !== undefined) sheds.inc({ code });
      if (outcome === 'failed' && code !== undefined) failures.inc({ code });
    },
    granted: (of) => share.observe(of),
    attempted: (result) => attempts.inc({ result }),
    accepted(bucket, className) {
      const label = buckets.label(bucket);
      if (label !== OTHER) classes.set(label, className);
      accepted.inc({ bucket: label, class: className });
    },
    throttled(className, api) {
      throttled.inc({ class: className, ...labelOf(api) });
    },
    retry(because) {
      retries.inc({ because });
    },
  };
}
