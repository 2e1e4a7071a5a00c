/** The values of `outcome` in a call line. */
export const OUTCOMES = ['answered', 'shed', 'failed', 'aborted'] as const;
export type LoggedOutcome = (typeof OUTCOMES)[number];

/** A call that waited at least this long counts as waited. Less is the queue's own overhead. */
export const WAITED_MS = 1;

/** A parsed call line. docs/logs.md explains each field. */
export interface LoggedCall {
  readonly kind: 'call';
  /** Milliseconds since 1970. */
  readonly atMs: number;
  readonly id: string;
  /** Empty where there is one API. */
  readonly api: string;
  readonly caller: string;
  readonly bucket: string;
  readonly method: string;
  readonly path: string;
  readonly query: string;
  /** 0 when no answer was sent. */
  readonly status: number;
  readonly outcome: LoggedOutcome;
  readonly code: string | undefined;
  readonly attempts: number;
  readonly waitMs: number;
  readonly upstreamMs: number;
  readonly totalMs: number;
  readonly limit: number | undefined;
  readonly remaining: number | undefined;
  readonly waiting: number;
  readonly cost: number | undefined;
  /** Only in observe mode. */
  readonly wouldWaitMs: number | undefined;
  readonly wouldShed: string | undefined;
}

/** The warning that the API sent a 429. */
export interface LoggedThrottle {
  readonly kind: 'throttled';
  readonly atMs: number;
  readonly id: string;
  readonly api: string;
  readonly caller: string;
  readonly bucket: string;
  readonly attempt: number;
  readonly scope: string;
  readonly retryAfterMs: number | undefined;
}

/** A line about something else, such as a start or a failed attempt. */
export interface LoggedEvent {
  readonly kind: 'event';
  readonly atMs: number;
  readonly level: string;
  readonly msg: string;
  /** The call that it is about; empty if it is about none, as are API, caller and bucket. */
  readonly id: string;
  readonly api: string;
  readonly caller: string;
  readonly bucket: string;
  /** All other fields. */
  readonly details: Readonly<Record<string, unknown>>;
}

/** A line that can be shown. */
export type LoggedLine = LoggedCall | LoggedThrottle | LoggedEvent;

export type LogLine =
  | LoggedLine
  /** A JSON object of another program, without a time or a message. */
  | { readonly kind: 'other' }
  /** Not a JSON object, or a line without a field that it must have. */
  | { readonly kind: 'broken' };

const OTHER: LogLine = { kind: 'other' };
const BROKEN: LogLine = { kind: 'broken' };

/**
 * Parses one line of the log. Never throws: a line of another program, or one that was cut off when
 * a process died or a disk was full, is `broken`.
 */
export function readLogLine(text: string): LogLine {
  const fields = parseObject(text);
  if (fields === undefined) return BROKEN;
  switch (fields['msg']) {
    case 'call':
      return readCall(fields) ?? BROKEN;
    case 'throttled':
      return readThrottled(fields) ?? BROKEN;
    default:
      return readEvent(fields) ?? OTHER;
  }
}

function readEvent(fields: Fields): LoggedEvent | undefined {
  const atMs = readTime(fields);
  const msg = readText(fields, 'msg');
  if (atMs === undefined || msg === undefined) return undefined;
  const {
    level: _level,
    time: _time,
    replica: _replica,
    id,
    api,
    caller,
    msg: _msg,
    ...details
  } = fields;
  return {
    kind: 'event',
    atMs,
    level: readText(fields, 'level') ?? '',
    msg,
    id: typeof id === 'string' ? id : '',
    api: typeof api === 'string' ? api : '',
    caller: typeof caller === 'string' ? caller : '',
    bucket: readText(fields, 'bucket') ?? '',
    details,
  };
}

type Fields = Readonly<Record<string, unknown>>;

function parseObject(text: string): Fields | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isFields(value) ? value : undefined;
  } catch {
    // The line is counted as broken, and the rest of the log is still useful.
    return undefined;
  }
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function readCall(fields: Fields): LoggedCall | undefined {
  const atMs = readTime(fields);
  const id = readText(fields, 'id');
  const path = readText(fields, 'path');
  const status = readNumber(fields, 'status');
  const outcome = OUTCOMES.find((known) => known === fields['outcome']);
  const waitMs = readNumber(fields, 'waitMs');
  const upstreamMs = readNumber(fields, 'upstreamMs');
  const totalMs = readNumber(fields, 'totalMs');
  if (
    atMs === undefined ||
    id === undefined ||
    path === undefined ||
    status === undefined ||
    outcome === undefined ||
    waitMs === undefined ||
    upstreamMs === undefined ||
    totalMs === undefined
  ) {
    return undefined;
  }
  return {
    kind: 'call',
    atMs,
    id,
    api: readText(fields, 'api') ?? '',
    caller: readText(fields, 'caller') ?? '',
    bucket: readText(fields, 'bucket') ?? '',
    method: readText(fields, 'method') ?? '',
    path,
    query: readText(fields, 'query') ?? '',
    status,
    outcome,
    code: readText(fields, 'code'),
    attempts: readNumber(fields, 'attempts') ?? 0,
    waitMs,
    upstreamMs,
    totalMs,
    limit: readNumber(fields, 'limit'),
    remaining: readNumber(fields, 'remaining'),
    waiting: readNumber(fields, 'waiting') ?? 0,
    cost: readNumber(fields, 'cost'),
    wouldWaitMs: readNumber(fields, 'wouldWaitMs'),
    wouldShed: readText(fields, 'wouldShed'),
  };
}

function readThrottled(fields: Fields): LoggedThrottle | undefined {
  const atMs = readTime(fields);
  const id = readText(fields, 'id');
  const bucket = readText(fields, 'bucket');
  if (atMs === undefined || id === undefined || bucket === undefined) return undefined;
  return {
    kind: 'throttled',
    atMs,
    id,
    api: readText(fields, 'api') ?? '',
    caller: readText(fields, 'caller') ?? '',
    bucket,
    attempt: readNumber(fields, 'attempt') ?? 1,
    scope: readText(fields, 'scope') ?? '',
    retryAfterMs: readNumber(fields, 'retryAfterMs'),
  };
}

/** The log's stamps are always in UTC, so the zone of the host does not matter. */
function readTime(fields: Fields): number | undefined {
  const text = readText(fields, 'time');
  const atMs = text === undefined || !text.endsWith('Z') ? Number.NaN : Date.parse(text);
  return Number.isNaN(atMs) ? undefined : atMs;
}

function readText(fields: Fields, name: string): string | undefined {
  const value = fields[name];
  return typeof value === 'string' ? value : undefined;
}

function readNumber(fields: Fields, name: string): number | undefined {
  const value = fields[name];
  return typeof value === 'number' ? value : undefined;
}
