import { collectDefaultMetrics, Registry } from '@prometheus-io/client';
import { makeCallMetrics, type CallMetrics } from './call-metrics.ts';
import { makeStateMetrics, type StateSources } from './state-metrics.ts';

export interface MetricsOptions extends StateSources {
  /**
   * Whether to watch the process too: memory, event loop, garbage collection. For the one gateway
   * that the process is there for, as those watches end only with it.
   */
  readonly processFigures: boolean;
}

/** What a scrape gets. */
export interface Exposition {
  readonly contentType: string;
  readonly text: string;
}

export interface Metrics extends CallMetrics {
  /** Everything there is, in the format that an Accept header prefers: Prometheus or OpenMetrics. */
  expose(accept: string | undefined): Promise<Exposition>;
}

/** All metrics of one gateway; docs/metrics.md lists them. */
export function makeMetrics({ processFigures, ...sources }: MetricsOptions): Metrics {
  const registry = new Registry();
  const calls = makeCallMetrics(registry);
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
 * OpenMetrics names a family of counters without the `_total` of its samples, has no empty lines
 * and an end mark; for what we have, that is all the difference. (The library's own OpenMetrics
 * renames its counters for good, which then lack the suffix in the other format.)
 */
function toOpenMetrics(text: string): string {
  const families = text.replaceAll(/^# (HELP|TYPE) (\S+)_total /gm, '# $1 $2 ');
  return `${families.replaceAll(/\n{2,}/g, '\n')}# EOF\n`;
}
