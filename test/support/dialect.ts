/** The names of the headers. */
export type Family = 'x-ratelimit' | 'x-rate-limit' | 'ratelimit' | 'structured';

/** The formats of a reset. */
export type ResetFormat =
  | 'iso-micros'
  | 'iso-zone'
  | 'iso-seconds'
  | 'iso-space'
  | 'epoch-ceil'
  | 'epoch-floor'
  | 'epoch-float'
  | 'epoch-ms'
  | 'delta-ceil'
  | 'delta-floor'
  | 'delta-float'
  | 'duration'
  | 'http-date';

export type RetryAfterFormat = 'none' | 'delta-ceil' | 'delta-float' | 'http-date';

/** The rate headers of an API; Azion's are the default. */
export interface Dialect {
  readonly family?: Family;
  readonly reset?: ResetFormat;
  readonly retryAfter?: RetryAfterFormat;
}

/** The values that the rate headers report. */
export interface Said {
  readonly allowed: boolean;
  readonly limit: number;
  readonly remaining: number;
  readonly resetAtMs: number;
  readonly retryAtMs: number;
}

/** Renders rate headers as the API sends them at `nowMs` on its own clock. */
export function renderHeaders(said: Said, nowMs: number, dialect: Dialect): Record<string, string> {
  const { family = 'x-ratelimit', reset = 'iso-micros', retryAfter = 'none' } = dialect;
  const headers: Record<string, string> =
    family === 'structured'
      ? {
          ratelimit: `"default";r=${said.remaining};t=${Math.ceil((said.resetAtMs - nowMs) / 1000)}`,
          'ratelimit-policy': `"default";q=${said.limit};w=60`,
        }
      : {
          [`${family}-limit`]: String(said.limit),
          [`${family}-remaining`]: String(said.remaining),
          [`${family}-reset`]: renderReset(said.resetAtMs, nowMs, reset),
        };
  if (said.allowed || retryAfter === 'none') return headers;
  return { ...headers, 'retry-after': renderRetryAfter(said.retryAtMs, nowMs, retryAfter) };
}

export function renderReset(atMs: number, nowMs: number, format: ResetFormat): string {
  const inSeconds = Math.max(0, atMs - nowMs) / 1000;
  switch (format) {
    case 'iso-micros':
      return `${isoSeconds(atMs)}.${micros(atMs)}`;
    case 'iso-zone':
      return `${isoSeconds(atMs)}.${micros(atMs)}Z`;
    case 'iso-seconds':
      return isoSeconds(atMs);
    case 'iso-space':
      return `${isoSeconds(atMs).replace('T', ' ')}.${micros(atMs)}`;
    case 'epoch-ceil':
      return String(Math.ceil(atMs / 1000));
    case 'epoch-floor':
      return String(Math.floor(atMs / 1000));
    case 'epoch-float':
      return (atMs / 1000).toFixed(6);
    case 'epoch-ms':
      return String(Math.ceil(atMs));
    case 'delta-ceil':
      return String(Math.ceil(inSeconds));
    case 'delta-floor':
      return String(Math.floor(inSeconds));
    case 'delta-float':
      return inSeconds.toFixed(3);
    case 'duration':
      return `${Math.floor(inSeconds / 60)}m${(inSeconds % 60).toFixed(3)}s`;
    case 'http-date':
      return new Date(Math.ceil(atMs / 1000) * 1000).toUTCString();
    default:
      return format satisfies never;
  }
}

export function renderRetryAfter(
  atMs: number,
  nowMs: number,
  format: Exclude<RetryAfterFormat, 'none'>,
): string {
  const inSeconds = Math.max(0, atMs - nowMs) / 1000;
  switch (format) {
    case 'delta-ceil':
      return String(Math.ceil(inSeconds));
    case 'delta-float':
      return inSeconds.toFixed(3);
    case 'http-date':
      return new Date(Math.ceil(atMs / 1000) * 1000).toUTCString();
    default:
      return format satisfies never;
  }
}

function isoSeconds(ms: number): string {
  return new Date(ms).toISOString().slice(0, 19);
}

/** Microseconds, cut off as the API cuts them; a double holds them to about a quarter of one. */
function micros(ms: number): string {
  return String(Math.floor((ms - Math.floor(ms / 1000) * 1000) * 1000)).padStart(6, '0');
}
