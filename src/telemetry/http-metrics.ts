import { STATUS_CODES } from 'node:http';
import { Histogram, type Registry } from '@prometheus-io/client';
import type { Clock } from '../util/clock.ts';
import { withSend, type Upstream } from '../upstream/upstream.ts';
import { OTHER } from './bounded-labels.ts';
import type { CallLine, CallRecorder } from './call-line.ts';

/** The buckets that OpenTelemetry's conventions advise for HTTP. */
const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
const METHODS: ReadonlySet<string> = new Set(
  'GET HEAD POST PUT PATCH DELETE OPTIONS TRACE CONNECT'.split(' '),
);
/** What conventions say for a method that is not known. */
const OTHER_METHOD = '_OTHER';

export interface HttpMetricsOptions {
  readonly clock: Pick<Clock, 'now'>;
  /** The scheme of the callers' listener. */
  readonly scheme: 'http' | 'https';
}

export interface HttpMetrics {
  readonly record: CallRecorder;
  /** Measures each attempt at the API of this origin. */
  instrument(upstream: Upstream, origin: string): Upstream;
}

/**
 * The durations of requests under the names of OpenTelemetry's conventions for HTTP, as Prometheus
 * writes them, so that dashboards for any HTTP service fit.
 */
export function makeHttpMetrics(registry: Registry, options: HttpMetricsOptions): HttpMetrics {
  const { clock, scheme } = options;
  const common = ['http_request_method', 'http_response_status_code', 'error_type'];
  const server = new Histogram({
    name: 'http_server_request_duration_seconds',
    help: "Duration of callers' requests, with their wait (OpenTelemetry's conventions).",
    labelNames: [...common, 'url_scheme'],
    buckets: SECONDS,
    registers: [registry],
  });
  const client = new Histogram({
    name: 'http_client_request_duration_seconds',
    help: "Duration of attempts, until the API's headers (OpenTelemetry's conventions).",
    labelNames: [...common, 'server_address', 'server_port'],
    buckets: SECONDS,
    registers: [registry],
  });

  return {
    record(line) {
      const labels = {
        http_request_method: METHODS.has(line.method) ? line.method : OTHER_METHOD,
        http_response_status_code: statusOf(line.status),
        error_type: serverError(line),
        url_scheme: scheme,
      };
      server.observe(labels, line.totalMs / 1000);
    },
    instrument(upstream, origin) {
      const { protocol, hostname, port } = new URL(origin);
      const address = {
        server_address: hostname,
        server_port: port || (protocol === 'https:' ? '443' : '80'),
      };
      return withSend(upstream, async (request, signal, onEarlyHints) => {
        const from = clock.now();
        const sent = await upstream.send(request, signal, onEarlyHints);
        const status = sent.kind === 'answered' ? sent.response.status : 0;
        const failure = status >= 400 ? statusOf(status) : '';
        const labels = {
          http_request_method: METHODS.has(request.method) ? request.method : OTHER_METHOD,
          http_response_status_code: statusOf(status),
          error_type: sent.kind === 'answered' ? failure : sent.reason,
          ...address,
        };
        client.observe(labels, (clock.now() - from) / 1000);
        return sent;
      });
    },
  };
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
