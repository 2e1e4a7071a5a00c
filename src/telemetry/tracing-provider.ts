import { diag, DiagLogLevel, type Tracer } from '@opentelemetry/api';
import { OTLPTraceExporter as JsonExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter as ProtobufExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import {
  defaultResource,
  detectResources,
  envDetector,
  resourceFromAttributes,
} from '@opentelemetry/resources';
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';
import type { Clock, Timer } from '../util/clock.ts';
import type { Log } from './log.ts';
import type { Environment, OtlpProtocol } from './traced.ts';

export interface ProviderOptions {
  readonly env: Environment;
  readonly protocol: OtlpProtocol;
  readonly clock: Clock;
  readonly log: Log;
  readonly replica: string;
  readonly version: string;
}

/** At the end, spans that a collector does not take within this time are lost. */
const LAST_WORDS_MS = 2000;
/**
 * An export is given up after this long with all its retries, unless the environment says otherwise:
 * until then it keeps the process from ending, and the usual ten seconds are much for that.
 */
const EXPORT_TIMEOUT_MS = 3000;
const TIMEOUTS = ['OTEL_EXPORTER_OTLP_TRACES_TIMEOUT', 'OTEL_EXPORTER_OTLP_TIMEOUT'];

/**
 * Where spans go: batches in a bounded queue, over OTLP. Endpoint, headers, timeouts, sampler, queue
 * sizes and the resource come from the standard variables, which the libraries read themselves.
 */
export function makeProvider(options: ProviderOptions): {
  readonly tracer: Tracer;
  readonly close: () => Promise<void>;
} {
  const { env, protocol, clock, log, replica, version } = options;
  diag.setLogger(
    {
      error: (message) => log.error({ problem: message }, 'tracing'),
      warn: (message) => log.warn({ problem: message }, 'tracing'),
      info: () => undefined,
      debug: () => undefined,
      verbose: () => undefined,
    },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
  // The later goes before the earlier: what the environment says goes before what we say.
  const resource = defaultResource()
    .merge(
      resourceFromAttributes({
        'service.name': 'headgate',
        'service.version': version,
        'service.instance.id': replica,
      }),
    )
    .merge(detectResources({ detectors: [envDetector] }));
  const timeout = TIMEOUTS.some((name) => (env[name] ?? '') !== '')
    ? {}
    : { timeoutMillis: EXPORT_TIMEOUT_MS };
  const exporter =
    protocol === 'http/json' ? new JsonExporter(timeout) : new ProtobufExporter(timeout);
  const provider = new BasicTracerProvider({
    resource,
    spanProcessors: [new BatchSpanProcessor(exporter)],
  });
  return {
    tracer: provider.getTracer('headgate', version),
    close: async () => {
      let timer: Timer | undefined;
      const late = new Promise<void>((resolve) => {
        timer = clock.after(LAST_WORDS_MS, resolve);
      });
      try {
        await Promise.race([provider.shutdown(), late]);
      } catch (error) {
        log.warn({ err: error }, 'tracing');
      } finally {
        timer?.cancel();
      }
    },
  };
}
