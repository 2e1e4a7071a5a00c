import { STATUS_CODES } from 'node:http';
import type { MeasureAttempt } from '../upstream/exchange.ts';
import { OTHER } from './bounded-labels.ts';
import type { CallLine, CallRecorder } from './call-line.ts';
import type { PerCallMetrics } from './per-call-metrics.ts';

/** The buckets that OpenTelemetry's conventions advise for HTTP. */
const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
const METHODS: ReadonlySet<string> = new Set(
  'GET HEAD POST PUT PATCH DELETE OPTIONS TRACE CONNECT'.split(' '),
);
/** What conventions say for a method that is not known. */
const OTHER_METHOD = '_OTHER';

export interface HttpMetrics {
  readonly record: CallRecorder;
  /** Returns what measures each attempt at the API of this origin. */
  attemptsAt(origin: string): MeasureAttempt;
}

/**
 * The durations of requests under the names of OpenTelemetry's conventions for HTTP, as Prometheus
 * writes them, so that dashboards for any HTTP service fit. `scheme` is that of the callers' listener.
 */
export function makeHttpMetrics(metrics: PerCallMetrics, scheme: 'http' | 'https'): HttpMetrics {
  const common = ['http_request_method', 'http_response_status_code', 'error_type'];
  const server = metrics.histogram(
    'http_server_request_duration_seconds',
    "Duration of callers' requests, with their wait (OpenTelemetry's conventions).",
    SECONDS,
    [...common, 'url_scheme'],
  );
  const client = metrics.histogram(
    'http_client_request_duration_seconds',
    "Duration of attempts, until the API's headers (OpenTelemetry's conventions).",
    SECONDS,
    [...common, 'server_address', 'server_port'],
  );

  return {
    record(line) {
      const series = server.with(
        methodOf(line.method),
        statusOf(line.status),
        serverError(line),
        scheme,
      );
      series.observe(line.totalMs / 1000);
    },
    attemptsAt(origin) {
      const { protocol, hostname, port: stated } = new URL(origin);
      const port = stated || (protocol === 'https:' ? '443' : '80');
      return (method, sent, durationMs) => {
        const status = sent.kind === 'answered' ? sent.response.status : 0;
        const failure = status >= 400 ? statusOf(status) : '';
        const error = sent.kind === 'answered' ? failure : sent.reason;
        const series = client.with(methodOf(method), statusOf(status), error, hostname, port);
        series.observe(durationMs / 1000);
      };
    },
  };
}

function methodOf(method: string): string {
  return METHODS.has(method) ? method : OTHER_METHOD;
}

/** Empty without an answer. Statuses that are not registered share one label, so there are few. */
function statusOf(status: number): string {
  if (status === 0) return '';
  return STATUS_CODES[status] === undefined ? OTHER : String(status);
}

/** A server's span and metric are an error from status 500 on. */
function serverError({ outcome, status, code }: CallLine): string {
  if (outcome === 'failed' || status >= 500) return code ?? statusOf(status);
  return '';
}
