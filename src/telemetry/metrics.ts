import { collectDefaultMetrics, Counter, Gauge, Registry } from '@prometheus-io/client';
import { makeCallMetrics, type CallMetrics } from './call-metrics.ts';
import { makeHttpMetrics, type HttpMetrics } from './http-metrics.ts';
import { PerCallMetrics } from './per-call-metrics.ts';
import { makeStateMetrics, type StateSources } from './state-metrics.ts';

export interface MetricsOptions extends StateSources {
  readonly version: string;
  /** The scheme of the callers' listener. */
  readonly scheme: 'http' | 'https';
  /**
   * Whether to include the process: memory, event loop, garbage collection. At most once per
   * process, because this collection cannot be stopped.
   */
  readonly processFigures: boolean;
}

/** The response to a scrape. */
export interface Exposition {
  readonly contentType: string;
  readonly text: string;
}

export interface Metrics extends CallMetrics {
  readonly attemptsAt: HttpMetrics['attemptsAt'];
  /** The settings were read again, with this result. */
  reloaded(result: ReloadResult): void;
  /** All metrics, as OpenMetrics if the Accept header names it, else in Prometheus' text format. */
  expose(accept: string | undefined): Promise<Exposition>;
}

/** Whether a reload was applied, or refused because of bad settings. */
export type ReloadResult = 'applied' | 'refused';

/** All metrics of one gateway; docs/metrics.md lists them. */
export function makeMetrics(options: MetricsOptions): Metrics {
  const { processFigures, version, scheme, ...sources } = options;
  const registry = new Registry();
  const perCall = new PerCallMetrics();
  const calls = makeCallMetrics(perCall, sources.apiNames ?? []);
  const http = makeHttpMetrics(perCall, scheme);
  const registers = [registry];
  new Gauge({
    name: 'headgate_build_info',
    help: '1; the labels say what runs.',
    labelNames: ['version', 'node'],
    registers,
  }).set({ version, node: process.versions.node }, 1);
  const reloads = new Counter({
    name: 'headgate_reloads_total',
    help: 'Reloads of the settings, by result.',
    labelNames: ['result'],
    registers,
  });
  for (const result of ['applied', 'refused']) reloads.inc({ result }, 0);
  const readState = makeStateMetrics(registry, sources);
  if (processFigures) collectDefaultMetrics({ register: registry });

  return {
    ...calls,
    record(line) {
      calls.record(line);
      http.record(line);
    },
    attemptsAt: (origin) => http.attemptsAt(origin),
    reloaded: (result) => reloads.inc({ result }),
    async expose(accept = '') {
      readState();
      const text = `${perCall.text()}\n${await registry.metrics()}`;
      return accept.includes('application/openmetrics-text')
        ? { contentType: Registry.OPENMETRICS_CONTENT_TYPE, text: toOpenMetrics(text) }
        : { contentType: Registry.PROMETHEUS_CONTENT_TYPE, text };
    },
  };
}

/**
 * Converts Prometheus' text format to OpenMetrics. For our metrics, only three things differ:
 * the name of a counter family has no `_total`, there are no empty lines, and the text ends with a
 * mark. The library's own conversion renames its counters permanently, also in the other format.
 */
function toOpenMetrics(text: string): string {
  const families = text.replaceAll(/^# (HELP|TYPE) (\S+)_total /gm, '# $1 $2 ');
  return `${families.replaceAll(/\n{2,}/g, '\n')}# EOF\n`;
}
