import { parseSecondsOrDuration } from '../util/duration.ts';
import { CALL_OUTCOMES } from '../telemetry/call-line.ts';
import type { CallFilter } from '../telemetry/recent-activity.ts';

const OUTCOMES: ReadonlySet<string> = new Set(CALL_OUTCOMES);
const STATUS = /^[0-5](?:\d\d|xx)$/;

/** The query parameters of a filter. */
export const CALL_FILTERS = ['caller', 'path', 'status', 'outcome', 'minWait', 'id'] as const;

/** A filter, or what is wrong with the query. */
export type ReadFilter =
  | { readonly kind: 'filter'; readonly matches: CallFilter }
  | { readonly kind: 'bad'; readonly problem: string };

/**
 * Reads a filter of calls from a query: `caller` and `path` are substrings, `status` is a status or a
 * class such as `4xx`, `outcome` is exact, `minWait` is seconds or a duration, `id` is the beginning of
 * a request id. An absent or empty parameter sets no condition.
 */
export function readCallFilter(query: (name: string) => string | undefined): ReadFilter {
  const given = (name: string): string | undefined => query(name) || undefined;
  const [caller, path, status, outcome, minWait, id] = [
    given('caller')?.toLowerCase(),
    given('path'),
    given('status')?.toLowerCase(),
    given('outcome'),
    given('minWait'),
    given('id')?.toLowerCase(),
  ];
  const tests: CallFilter[] = [];
  if (caller !== undefined) tests.push((line) => line.caller.toLowerCase().includes(caller));
  if (id !== undefined) tests.push((line) => line.id.startsWith(id));
  if (path !== undefined) tests.push((line) => line.path.includes(path));
  if (status !== undefined) {
    if (!STATUS.test(status)) return bad('status', 'a status such as 404, or 4xx', status);
    const min = Number(status.replace('xx', '00'));
    const max = status.endsWith('xx') ? min + 99 : min;
    tests.push((line) => line.status >= min && line.status <= max);
  }
  if (outcome !== undefined) {
    if (!OUTCOMES.has(outcome)) return bad('outcome', [...OUTCOMES].join(', '), outcome);
    tests.push((line) => line.outcome === outcome);
  }
  if (minWait !== undefined) {
    const minMs = parseSecondsOrDuration(minWait);
    if (minMs === undefined) return bad('minWait', 'seconds, or a duration such as 2s', minWait);
    tests.push((line) => line.waitMs >= minMs);
  }
  return { kind: 'filter', matches: (line) => tests.every((test) => test(line)) };
}

function bad(name: string, expected: string, got: string): ReadFilter {
  return { kind: 'bad', problem: `${name}: expected ${expected}, got ${JSON.stringify(got)}` };
}
