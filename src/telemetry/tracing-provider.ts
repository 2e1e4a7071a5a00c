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

/** The environment, which contains the standard OTEL_* variables. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** How spans are encoded when they are sent. */
export type OtlpProtocol = 'http/protobuf' | 'http/json';

export interface ProviderOptions {
  readonly env: Environment;
  readonly protocol: OtlpProtocol;
  readonly clock: Clock;
  readonly log: Log;
  readonly replica: string;
  readonly version: string;
}

/** At shutdown, spans that the collector does not accept within this time are lost. */
const LAST_EXPORT_MS = 2000;
/**
 * The time limit of one export with all its retries, unless the environment sets another. An export
 * keeps the process from ending, and the default of ten seconds is too long for that.
 */
const EXPORT_TIMEOUT_MS = 3000;
const TIMEOUTS = ['OTEL_EXPORTER_OTLP_TRACES_TIMEOUT', 'OTEL_EXPORTER_OTLP_TIMEOUT'];

/**
 * Constructs the export of spans: batches from a bounded queue, over OTLP. The libraries read
 * endpoint, headers, timeouts, sampler, queue sizes and resource from the standard variables.
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
  // `merge` lets the later resource win, so the environment takes precedence over our defaults.
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
        timer = clock.after(LAST_EXPORT_MS, resolve);
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
