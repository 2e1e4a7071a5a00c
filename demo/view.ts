import { stripVTControlCharacters, styleText } from 'node:util';
import type { BucketView } from './stage.ts';
import { outstanding, type CallerState } from './traffic.ts';

/** The data that one frame shows. */
export interface Moment {
  readonly elapsedMs: number;
  readonly limit: number;
  readonly periodMs: number;
  readonly calls: number;
  readonly bucket: BucketView | undefined;
  readonly callers: readonly CallerState[];
  readonly throttledByApi: number;
}

export interface Result extends Moment {
  readonly interrupted: boolean;
  readonly callLines: number;
  readonly lastCallLine: string;
}

const BAR = 32;
const NAME = 14;

/** Renders a moment as rows for a terminal with `columns` columns. */
export function frame(moment: Moment, columns: number): string[] {
  const { elapsedMs, bucket, callers, calls } = moment;
  const served = sum(callers, ({ served: count }) => count);
  const { waiting, leases } = bucket ?? { waiting: 0, leases: 0 };
  const most = Math.max(1, ...callers.map((caller) => caller.share * calls));
  return [
    `${styleText('bold', 'Headgate')}  ${headline(moment)}  ${seconds(elapsedMs)}`,
    '',
    `  budget  ${bar((bucket?.remaining ?? 0) / moment.limit, BAR, 'cyan')}  ${budgetText(bucket)}`,
    `  served  ${bar(served / calls, BAR, 'green')}  ${served} of ${calls} calls`,
    `  queue   ${bar(waiting / calls, BAR, 'yellow')}  ${waiting} waiting, ${leases} at the API`,
    '',
    styleText('dim', `  ${'caller'.padEnd(NAME)}  served  waiting  mean wait`),
    ...callers.map((caller) => {
      const numbers = `${pad(caller.served, 6)}  ${pad(outstanding(caller), 7)}  ${meanWait(caller)}`;
      const done = bar(caller.served / most, 16, 'green');
      return `  ${caller.name.padEnd(NAME)}  ${numbers}  ${done}`;
    }),
    '',
    `  429s seen by callers: ${alarm(throttled(callers))}   errors: ${alarm(failed(callers))}   429s sent by the API: ${moment.throttledByApi}`,
  ].map((row) => fit(row, columns));
}

/** Renders a moment as one line, for output that is not a terminal. */
export function plainLine({ elapsedMs, bucket, callers }: Moment): string {
  const served = sum(callers, (caller) => caller.served);
  const each = callers.map((caller) => `${caller.name} ${caller.served}/${outstanding(caller)}`);
  return `${seconds(elapsedMs).padStart(6)}  served ${served}, waiting ${bucket?.waiting ?? 0}; budget: ${budgetText(bucket)}; served/waiting by caller: ${each.join(', ')}; 429s seen by callers: ${throttled(callers)}`;
}

/** Renders the totals at the end. */
export function summary(result: Result): string[] {
  const { callers, limit, periodMs, elapsedMs, interrupted, callLines, lastCallLine } = result;
  const sent = sum(callers, (caller) => caller.sent);
  const served = sum(callers, (caller) => caller.served);
  const least = Math.max(0, Math.ceil(sent / limit) - 1) * periodMs;
  const wide = Math.max(...callers.map(({ name }) => name.length));
  return [
    '',
    interrupted ? 'Stopped early.' : 'Done.',
    `  sent ${sent}, served ${served}, in ${seconds(elapsedMs)}; the API's limit alone takes ${seconds(least)}`,
    ...callers.map(
      (caller) =>
        `  ${caller.name.padEnd(wide)}  served ${pad(caller.served, 4)} of ${pad(caller.sent, 4)}, mean wait ${meanWait(caller)}, longest ${seconds(caller.longestMs)}`,
    ),
    `  429s seen by callers: ${throttled(callers)}; errors: ${failed(callers)}; 429s sent by the API and retried by the gateway: ${result.throttledByApi}`,
    `  log lines: ${callLines}, one per call; the last one:`,
    `  ${lastCallLine}`,
  ];
}

export function headline({ limit, periodMs, callers }: Moment): string {
  const count = callers.length === 1 ? 'one caller sends' : `${callers.length} callers send`;
  return `the API allows ${limit} calls per ${seconds(periodMs)}; ${count} 3 times that`;
}

export function throttled(callers: readonly CallerState[]): number {
  return sum(callers, (caller) => caller.throttled);
}

export function failed(callers: readonly CallerState[]): number {
  return sum(callers, (caller) => caller.failed);
}

function budgetText(bucket: BucketView | undefined): string {
  if (bucket?.limit === undefined) return 'not known yet';
  const reset = bucket.resetInMs === undefined ? '' : `, reset in ${seconds(bucket.resetInMs)}`;
  return `${bucket.remaining ?? 0} of ${bucket.limit} left${reset}`;
}

function bar(part: number, width: number, colour: 'cyan' | 'green' | 'yellow'): string {
  const full = Math.round(Math.min(1, Math.max(0, part)) * width);
  return styleText(colour, '█'.repeat(full)) + styleText('dim', '░'.repeat(width - full));
}

/** Green for zero, the expected count, and red for any other. */
function alarm(count: number): string {
  return styleText(count === 0 ? 'green' : 'red', String(count));
}

function meanWait({ totalMs, served }: CallerState): string {
  return (served === 0 ? '–' : seconds(totalMs / served)).padStart(9);
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

function pad(number: number, width: number): string {
  return String(number).padStart(width);
}

function sum(callers: readonly CallerState[], of: (caller: CallerState) => number): number {
  return callers.reduce((total, caller) => total + of(caller), 0);
}

/** Cuts a row that is too long: it would wrap, and the redraw would miss a row. It loses its colour. */
function fit(row: string, columns: number): string {
  const plain = stripVTControlCharacters(row);
  return plain.length <= columns ? row : `${plain.slice(0, Math.max(0, columns - 1))}…`;
}
