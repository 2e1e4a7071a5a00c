import type { LoggedLine, LoggedOutcome } from './log-line.ts';

/**
 * Which lines to keep. A line must satisfy every condition that is set, and match one entry of each
 * list. An empty list sets no condition.
 */
export interface FilterOptions {
  /** Patterns with `*` for any characters, as are paths, buckets and APIs. */
  readonly callers: readonly string[];
  readonly paths: readonly string[];
  readonly buckets: readonly string[];
  readonly apis: readonly string[];
  /** `429`, or a class such as `5xx`. */
  readonly statuses: readonly string[];
  readonly outcomes: readonly LoggedOutcome[];
  readonly ids: readonly string[];
  /** Patterns of messages. Without them, the lines of calls and of 429s; with ids, all of a call. */
  readonly messages: readonly string[];
  /** Only calls that waited at least this long. */
  readonly minWaitMs: number | undefined;
  /** Only lines that were written at this time or later, in milliseconds since 1970. */
  readonly sinceMs: number | undefined;
}

export type Filter = (line: LoggedLine) => boolean;

/**
 * Makes the filter. Only call lines have a path, status, outcome and wait, so a filter for one of
 * these keeps call lines only.
 */
export function makeFilter(options: FilterOptions): Filter {
  const { statuses, outcomes, ids, minWaitMs, sinceMs } = options;
  const caller = anyOf(options.callers);
  const path = anyOf(options.paths);
  const bucket = anyOf(options.buckets);
  const api = anyOf(options.apis);
  const message = anyOf(options.messages);
  const callsOnly =
    path !== undefined || statuses.length > 0 || outcomes.length > 0 || minWaitMs !== undefined;

  return (line) => {
    if (sinceMs !== undefined && line.atMs < sinceMs) return false;
    if (ids.length > 0 && !ids.includes(line.id)) return false;
    if (caller !== undefined && !caller(line.caller)) return false;
    if (bucket !== undefined && !bucket(line.bucket)) return false;
    if (api !== undefined && !api(line.api)) return false;
    const msg = line.kind === 'event' ? line.msg : line.kind;
    if (message !== undefined && !message(msg)) return false;
    if (line.kind === 'event' && message === undefined && ids.length === 0) return false;
    if (!callsOnly) return true;
    if (line.kind !== 'call') return false;
    if (minWaitMs !== undefined && line.waitMs < minWaitMs) return false;
    if (outcomes.length > 0 && !outcomes.includes(line.outcome)) return false;
    if (statuses.length > 0 && !statuses.some((pattern) => isStatus(line.status, pattern))) {
      return false;
    }
    return path === undefined || path(line.path);
  };
}

function anyOf(patterns: readonly string[]): ((text: string) => boolean) | undefined {
  if (patterns.length === 0) return undefined;
  const matchers = patterns.map(makePattern);
  return (text) => matchers.some((matches) => matches(text));
}

/**
 * Makes a function that matches a text with a pattern. `*` stands for any characters, or none. Every
 * other character stands for itself. Matching takes linear time, whatever the pattern is.
 */
export function makePattern(pattern: string): (text: string) => boolean {
  const parts = pattern.split('*');
  const [head = '', ...rest] = parts;
  const tail = rest.pop();
  if (tail === undefined) return (text) => text === pattern;
  return (text) => {
    if (!text.startsWith(head)) return false;
    let at = head.length;
    for (const part of rest) {
      const found = text.indexOf(part, at);
      if (found === -1) return false;
      at = found + part.length;
    }
    return text.length - tail.length >= at && text.endsWith(tail);
  };
}

function isStatus(status: number, pattern: string): boolean {
  return pattern.endsWith('xx')
    ? Math.floor(status / 100) === Number(pattern[0])
    : status === Number(pattern);
}
