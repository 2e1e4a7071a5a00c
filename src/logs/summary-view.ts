import type {
  Durations,
  GroupSummary,
  MinuteSummary,
  ObservedSummary,
  Summary,
} from './summary.ts';
import { printable, readableDuration, type Paint } from './terminal-text.ts';

/** How many lines were read. */
export interface ReadCounts {
  /** Lines of any kind. */
  readonly lines: number;
  /** Broken lines, which were skipped. */
  readonly broken: number;
}

/** Formats a summary for people. */
export function formatSummary(
  summary: Summary,
  { lines, broken }: ReadCounts,
  paint: Paint,
): string {
  const { all, throttled, quantileError } = summary;
  const period = summary.from === undefined ? '' : `, ${summary.from} to ${summary.to}`;
  const parts = [
    `${count(all.calls)} calls in ${count(lines)} lines${period}`,
    ...(broken === 0 ? [] : [paint('red', `${count(broken)} broken lines skipped`)]),
    '',
    heading('Outcomes'),
    ...Object.entries(all.outcomes).map(([name, n]) => share(name, n, all.calls)),
    ...Object.entries(summary.codes).map(([name, n]) => share(`  ${name}`, n, all.calls)),
    '',
    heading('Waiting'),
    `  ${count(all.waited)} calls waited (${percent(all.waited, all.calls)}), ${readableDuration(all.lostMs)} in total`,
    `  wait      ${spread(all.waitMs)}`,
    `  upstream  ${spread(all.upstreamMs)}`,
    '',
    ...(summary.observed === undefined
      ? []
      : [heading('Observe mode'), ...observedLines(summary.observed), '']),
    heading('429s of the API'),
    throttled === 0 ? '  none' : paint('magenta', `  ${count(throttled)}`),
    ...Object.entries(summary.throttledByBucket).map(([name, n]) => share(name, n, throttled)),
    '',
    ...(summary.byApi.length === 0 ? [] : [heading('By API'), ...groupTable(summary.byApi), '']),
    heading('By caller'),
    ...groupTable(summary.byCaller),
    '',
    heading('By path'),
    ...groupTable(summary.byPath),
    '',
    heading('Busiest minutes'),
    ...minuteTable(summary.busiestMinutes),
    '',
    paint('dim', `Quantiles are within ${(quantileError * 100).toFixed(1)} %; totals are exact.`),
  ];
  return `${parts.join('\n')}\n`;

  function heading(text: string): string {
    return paint('bold', text);
  }
}

function observedLines(observed: ObservedSummary): string[] {
  const { calls, wouldWait, wouldLoseMs, wouldWaitMs, wouldShed } = observed;
  const shed = Object.values(wouldShed).reduce((sum, n) => sum + n, 0);
  return [
    "  no call waited for its budget, and the API's 429s reached the callers; by the forecast,",
    `  ${callCount(wouldWait)} would have waited (${percent(wouldWait, calls)}), ${readableDuration(wouldLoseMs)} in total`,
    `  wait      ${spread(wouldWaitMs)}`,
    `  ${callCount(shed)} would have been shed (${percent(shed, calls)})`,
    ...Object.entries(wouldShed).map(([name, n]) => share(`  ${name}`, n, shed)),
  ];
}

function callCount(n: number): string {
  return `${count(n)} ${n === 1 ? 'call' : 'calls'}`;
}

const GROUP_HEAD = [
  '',
  'calls',
  'waited',
  'shed',
  'failed',
  'total wait',
  'wait p50',
  'p90',
  'p99',
  'upstream p50',
  'p90',
  'p99',
];

function groupTable(groups: readonly GroupSummary[]): string[] {
  return table(
    GROUP_HEAD,
    groups.map((group) => [
      printable(group.name),
      count(group.calls),
      percent(group.waited, group.calls),
      count(group.outcomes.shed),
      count(group.outcomes.failed),
      readableDuration(group.lostMs),
      ...quantiles(group.waitMs),
      ...quantiles(group.upstreamMs),
    ]),
  );
}

function minuteTable(minutes: readonly MinuteSummary[]): string[] {
  return table(
    ['', 'calls', 'total wait', '429s'],
    minutes.map(({ minute, calls, waitMs, throttled }) => [
      minute,
      count(calls),
      readableDuration(waitMs),
      count(throttled),
    ]),
  );
}

/** A table whose columns are as wide as their widest cell. Numbers are aligned to the right. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  if (rows.length === 0) return ['  none'];
  const all = [head, ...rows];
  const widths = head.map((_, i) => Math.max(...all.map((row) => (row[i] ?? '').length)));
  return all.map((row) => {
    const cells = row.map((cell, i) =>
      i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0),
    );
    return `  ${cells.join('  ')}`;
  });
}

function quantiles({ p50, p90, p99 }: Durations): string[] {
  return [p50, p90, p99].map(readableDuration);
}

function spread(durations: Durations): string {
  const [p50, p90, p99] = quantiles(durations);
  return `p50 ${p50}, p90 ${p90}, p99 ${p99}, longest ${readableDuration(durations.longest)}`;
}

function share(name: string, n: number, of: number): string {
  return `  ${printable(name).padEnd(24)} ${count(n).padStart(10)}  ${percent(n, of)}`;
}

function percent(n: number, of: number): string {
  return of === 0 ? '–' : `${((100 * n) / of).toFixed(1)} %`;
}

function count(n: number): string {
  return n.toLocaleString('en-GB');
}
