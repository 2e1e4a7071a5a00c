import { collectDefaultMetrics, Registry } from '@prometheus-io/client';
import { makeCallMetrics, type CallMetrics } from './call-metrics.ts';
import { makeStateMetrics, type StateSources } from './state-metrics.ts';

export interface MetricsOptions extends StateSources {
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
  /** All metrics, as OpenMetrics if the Accept header names it, else in Prometheus' text format. */
  expose(accept: string | undefined): Promise<Exposition>;
}

/** All metrics of one gateway; docs/metrics.md lists them. */
export function makeMetrics({ processFigures, ...sources }: MetricsOptions): Metrics {
  const registry = new Registry();
  const calls = makeCallMetrics(registry, sources.apiNames ?? []);
  const readState = makeStateMetrics(registry, sources);
  if (processFigures) collectDefaultMetrics({ register: registry });

  return {
    ...calls,
    async expose(accept = '') {
      readState();
      const text = await registry.metrics();
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
