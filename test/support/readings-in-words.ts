import type { ReportedBudget } from '../../src/rate-headers/budget-groups.ts';
import type { RateHeaders } from '../../src/rate-headers/rate-headers.ts';
import type { Reset } from '../../src/rate-headers/reset-value.ts';

const NOW = Date.UTC(2026, 10, 28, 10);

/** Seconds from the answer, to the microsecond. */
function secondsTo(reset: Reset): number {
  const ms = reset.kind === 'delay' ? reset.afterMs : reset.atMs - NOW;
  return Math.round(ms * 1000) / 1_000_000;
}

function inWords({ name, limit, remaining, reset, periodMs }: ReportedBudget): string {
  return [
    ...(name === undefined ? [] : [`name ${name}`]),
    ...(limit === undefined ? [] : [`limit ${limit}`]),
    ...(remaining === undefined ? [] : [`remaining ${remaining}`]),
    ...(reset === undefined ? [] : [`reset in ${secondsTo(reset)} s`]),
    ...(periodMs === undefined ? [] : [`period ${periodMs / 1000} s`]),
  ].join(', ');
}

/** What the headers of an answer of Sat, 28 Nov 2026 10:00:00 GMT report, as docs/rate-headers.md says it. */
export function readingsInWords({ budgets, retryAfter, doubtful }: RateHeaders): string {
  const said = [
    ...budgets.map(inWords),
    ...(retryAfter === undefined ? [] : [`wait ${secondsTo(retryAfter)} s`]),
    ...(doubtful ?? []).map((name) => `doubtful ${name}`),
  ];
  return said.length === 0 ? 'nothing' : said.join('; ');
}
