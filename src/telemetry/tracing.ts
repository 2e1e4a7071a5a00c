import type { Clock } from '../util/clock.ts';
import type { Log } from './log.ts';
import type { Environment, OtlpProtocol } from './tracing-provider.ts';
import type { Tracing } from './tracing-spans.ts';

/** Whether traces are exported, by the standard variables. */
export type TracingPlan =
  | { readonly kind: 'off' }
  /** The variables ask for an exporter or a protocol that is not supported. */
  | { readonly kind: 'refused'; readonly problem: string }
  | { readonly kind: 'on'; readonly protocol: OtlpProtocol };

/**
 * Reads the standard variables. Traces are on when they name an OTLP endpoint and do not disable
 * traces. The OpenTelemetry libraries read the other variables themselves: endpoint, sampling,
 * batching and the name of the service.
 */
export function planTracing(env: Environment): TracingPlan {
  const given = (name: string): string | undefined => env[name]?.trim() || undefined;
  const endpoint =
    given('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT') ?? given('OTEL_EXPORTER_OTLP_ENDPOINT');
  const exporter = given('OTEL_TRACES_EXPORTER') ?? 'otlp';
  const disabled = given('OTEL_SDK_DISABLED')?.toLowerCase() === 'true';
  if (endpoint === undefined || disabled || exporter === 'none') return { kind: 'off' };
  if (exporter !== 'otlp') {
    return refused('OTEL_TRACES_EXPORTER', 'otlp or none', exporter);
  }
  const protocol =
    given('OTEL_EXPORTER_OTLP_TRACES_PROTOCOL') ??
    given('OTEL_EXPORTER_OTLP_PROTOCOL') ??
    'http/protobuf';
  if (protocol === 'http/protobuf' || protocol === 'http/json') return { kind: 'on', protocol };
  return refused('OTEL_EXPORTER_OTLP_PROTOCOL', 'http/protobuf or http/json', protocol);
}

function refused(variable: string, expected: string, got: string): TracingPlan {
  return {
    kind: 'refused',
    problem: `${variable}: expected ${expected}, got ${JSON.stringify(got)}`,
  };
}

export interface StartTracingOptions {
  readonly env: Environment;
  readonly clock: Clock;
  readonly log: Log;
  readonly replica: string;
  readonly version: string;
  /** The scheme of the callers' listener. */
  readonly scheme: 'http' | 'https';
}

/**
 * Starts tracing if the environment asks for it. The libraries are loaded only then, so without
 * traces they cost neither memory nor time.
 *
 * Variables that ask for something unsupported are logged and leave tracing off. They are often set
 * for a whole cluster, and the gateway works without traces.
 */
export async function startTracing(options: StartTracingOptions): Promise<Tracing | undefined> {
  const plan = planTracing(options.env);
  if (plan.kind === 'off') return undefined;
  if (plan.kind === 'refused') {
    options.log.error({ problem: plan.problem }, 'tracing is off');
    return undefined;
  }
  const [{ makeProvider }, { makeTracing }] = await Promise.all([
    import('./tracing-provider.ts'),
    import('./tracing-spans.ts'),
  ]);
  const { tracer, close } = makeProvider({ ...options, protocol: plan.protocol });
  options.log.info({ protocol: plan.protocol }, 'tracing is on');
  return makeTracing({ tracer, clock: options.clock, close, scheme: options.scheme });
}
