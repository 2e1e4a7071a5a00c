import { parseDuration } from '../util/duration.ts';
import { readIsoTimestamp } from '../rate-headers/timestamps.ts';
import type { FilterOptions } from './filter.ts';
import { OUTCOMES } from './log-line.ts';

/** How to print the lines that pass the filter. */
export type Mode = 'view' | 'json' | 'summary' | 'summary-json';

export interface LogsOptions {
  readonly filter: FilterOptions;
  readonly mode: Mode;
  readonly follow: boolean;
  /** How many callers, paths and minutes a summary lists. */
  readonly top: number;
}

export type ReadOptions =
  | { readonly kind: 'ok'; readonly options: LogsOptions }
  /** `reason` names the option, what was expected, and its value. */
  | { readonly kind: 'wrong'; readonly reason: string };

const DEFAULT_TOP = 10;
const MAX_TOP = 500;
const STATUS = /^(?:[1-5]xx|[1-5]\d\d|0)$/;
const DATE = /^\d{4}-\d\d-\d\d$/;

/** Parses the options of `headgate logs`. `nowMs` is the wall clock's, for `--since 15m`. */
export function readLogsOptions(given: ReadonlyMap<string, string>, nowMs: number): ReadOptions {
  const problems: string[] = [];

  function read<T>(name: string, expected: string, parse: (text: string) => T | undefined) {
    const text = given.get(name);
    if (text === undefined) return undefined;
    const value = parse(text);
    if (value === undefined) problems.push(`--${name}: expected ${expected}, got ${text}`);
    return value;
  }

  const follow = given.has('follow');
  const summary = given.has('summary');
  const json = given.has('json');
  const filter: FilterOptions = {
    callers: list(given.get('caller')),
    paths: list(given.get('path')),
    buckets: list(given.get('bucket')),
    apis: list(given.get('api')),
    ids: list(given.get('id')),
    messages: list(given.get('message')),
    statuses:
      read('status', 'statuses such as 429 or 5xx', (text) =>
        every(list(text), (one) => (STATUS.test(one) ? one : undefined)),
      ) ?? [],
    outcomes:
      read('outcome', `some of ${OUTCOMES.join(', ')}`, (text) =>
        every(list(text), (one) => OUTCOMES.find((known) => known === one)),
      ) ?? [],
    minWaitMs: read('min-wait', 'a duration such as 500ms or 2s', parseDuration),
    sinceMs: read('since', 'a duration such as 15m, or a time such as 2026-11-24T06:00Z', (text) =>
      readSince(text, nowMs),
    ),
  };
  const top =
    read('top', `a whole number from 1 to ${MAX_TOP}`, (text) => {
      const count = /^\d{1,3}$/.test(text) ? Number(text) : 0;
      return count >= 1 && count <= MAX_TOP ? count : undefined;
    }) ?? DEFAULT_TOP;
  if (follow && summary) problems.push('expected one of --follow and --summary, got both');
  const [reason] = problems;
  if (reason !== undefined) return { kind: 'wrong', reason };
  const mode = summary ? (json ? 'summary-json' : 'summary') : json ? 'json' : 'view';
  return { kind: 'ok', options: { filter, mode, follow, top } };
}

function list(text: string | undefined): string[] {
  return text === undefined ? [] : text.split(',').filter((one) => one !== '');
}

/** All values; `undefined` when one is not valid, or when there are none. */
function every<T>(texts: readonly string[], parse: (text: string) => T | undefined) {
  const values = texts.map(parse).filter((value) => value !== undefined);
  return values.length > 0 && values.length === texts.length ? values : undefined;
}

/** A duration before now, a date, or a time to the minute or finer. Without a zone, it is UTC. */
function readSince(text: string, nowMs: number): number | undefined {
  const agoMs = parseDuration(text);
  if (agoMs !== undefined) return nowMs - agoMs;
  if (DATE.test(text)) return readIsoTimestamp(`${text}T00:00:00`);
  return (
    readIsoTimestamp(text) ?? readIsoTimestamp(text.replace(/^(\S{10}[T ]\d\d:\d\d)(?!:)/, '$1:00'))
  );
}
