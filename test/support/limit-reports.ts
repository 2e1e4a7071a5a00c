import {
  renderHeaders,
  renderReset,
  renderRetryAfter,
  type Family,
  type ResetFormat,
  type RetryAfterFormat,
} from './dialect.ts';
import type { Metered, Report, Reporter } from './several-limits.ts';

/**
 * How APIs report several limits in the headers of one answer. Each function makes a reporter of one
 * dialect; a Retry-After is added to refusals in its format.
 */

interface ReportOptions {
  readonly reset?: ResetFormat;
  readonly retryAfter?: RetryAfterFormat;
}

export interface TripleOptions extends ReportOptions {
  readonly family?: Exclude<Family, 'structured'>;
  /** The header that names the limit: `x-ratelimit-resource`, `-bucket` or `-scope`; none by default. */
  readonly nameHeader?: string;
  /** The name in it; the limit's by default. */
  readonly nameOf?: (report: Report, metered: Metered) => string;
  /**
   * Which of several limits an accepted request's answer reports: the first one that counted it (the
   * default), or the one of which the least is left in proportion. A refusal reports the one that
   * refused, if that is reported at all.
   */
  readonly shows?: 'first' | 'least-left';
}

/** Limit, remaining and reset of one limit: `X-RateLimit-Limit: 80`. */
export function reportTriple(options: TripleOptions = {}): Reporter {
  const { family = 'x-ratelimit', nameHeader, nameOf = ({ name }) => name } = options;
  const { reset = 'iso-micros', shows = 'first' } = options;
  return (metered) => {
    const report = shownOf(metered, shows);
    const wait = retryAfterOf(metered, options);
    if (report === undefined) return wait;
    return {
      ...renderHeaders(report, metered.nowMs, { family, reset }),
      ...(nameHeader === undefined ? {} : { [nameHeader]: nameOf(report, metered) }),
      ...wait,
    };
  };
}

/** Draft 07 of RateLimit: `limit=80, remaining=79, reset=60` of the tightest, and all policies unnamed. */
export function reportDraft07(options: ReportOptions = {}): Reporter {
  return (metered) => {
    const { reports, nowMs } = metered;
    const report = shownOf(metered, 'least-left');
    const wait = retryAfterOf(metered, options);
    if (report === undefined) return wait;
    const { limit, remaining } = report;
    return {
      ratelimit: `limit=${limit}, remaining=${remaining}, reset=${secondsTo(report, nowMs)}`,
      'ratelimit-policy': reports.map((one) => `${one.limit};w=${periodOf(one)}`).join(', '),
      ...wait,
    };
  };
}

/** Draft 11 of RateLimit: `"requests";r=79;t=60` of every limit, and the policies by name. */
export function reportDraft11(options: ReportOptions = {}): Reporter {
  return (metered) => {
    const { reports, nowMs } = metered;
    const wait = retryAfterOf(metered, options);
    if (reports.length === 0) return wait;
    return {
      ratelimit: reports
        .map((one) => `"${one.name}";r=${one.remaining};t=${secondsTo(one, nowMs)}`)
        .join(', '),
      'ratelimit-policy': reports
        .map((one) => `"${one.name}";q=${one.limit};w=${periodOf(one)}`)
        .join(', '),
      ...wait,
    };
  };
}

/** Lists that belong together by position: `X-RateLimit-Limit: 5, 100`. */
export function reportPositions(options: ReportOptions = {}): Reporter {
  const { reset = 'delta-ceil' } = options;
  return (metered) => {
    const { reports, nowMs } = metered;
    const wait = retryAfterOf(metered, options);
    if (reports.length === 0) return wait;
    const list = (valueOf: (report: Report) => string | number): string =>
      reports.map(valueOf).join(', ');
    return {
      'x-ratelimit-limit': list(({ limit }) => limit),
      'x-ratelimit-remaining': list(({ remaining }) => remaining),
      'x-ratelimit-reset': list(({ resetAtMs }) => renderReset(resetAtMs, nowMs, reset)),
      ...wait,
    };
  };
}

/** Names of headers that end with the limit's: `x-ratelimit-limit-requests`, `x-ratelimit-limit-tokens`. */
export function reportFamilies(options: ReportOptions = {}): Reporter {
  const { reset = 'duration' } = options;
  return (metered) => {
    const { reports, nowMs } = metered;
    const headers: Record<string, string> = {};
    for (const { name, limit, remaining, resetAtMs } of reports) {
      headers[`x-ratelimit-limit-${name}`] = String(limit);
      headers[`x-ratelimit-remaining-${name}`] = String(remaining);
      headers[`x-ratelimit-reset-${name}`] = renderReset(resetAtMs, nowMs, reset);
    }
    return { ...headers, ...retryAfterOf(metered, options) };
  };
}

/** No rate headers; a refusal has a Retry-After, in whole seconds by default. */
export function reportRetryAfter(format: RetryAfterFormat = 'delta-ceil'): Reporter {
  return (metered) => retryAfterOf(metered, { retryAfter: format });
}

function shownOf(
  { reports, refusedBy }: Metered,
  shows: 'first' | 'least-left',
): Report | undefined {
  if (refusedBy !== undefined && reports.includes(refusedBy)) return refusedBy;
  if (shows === 'first') return reports[0];
  return reports.toSorted((one, other) => leftIn(one) - leftIn(other))[0];
}

function leftIn({ remaining, limit }: Report): number {
  return remaining / limit;
}

function retryAfterOf(
  { refusedBy, nowMs }: Metered,
  { retryAfter = 'none' }: ReportOptions,
): Record<string, string> {
  if (refusedBy === undefined || retryAfter === 'none') return {};
  return { 'retry-after': renderRetryAfter(refusedBy.retryAtMs, nowMs, retryAfter) };
}

function secondsTo({ resetAtMs }: Report, nowMs: number): string {
  return renderReset(resetAtMs, nowMs, 'delta-ceil');
}

function periodOf({ periodMs }: Report): number {
  return Math.ceil(periodMs / 1000);
}
