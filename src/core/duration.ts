const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** One number and unit of `1h30m`; sticky, so that the parts must follow each other. */
const PART = /(\d{1,15}(?:\.\d{1,9})?)(ms|s|m|h|d)/y;

/**
 * Reads a duration such as `250ms`, `45s`, `1m30s` or `0`, in milliseconds; `undefined` for
 * anything else, a bare number among it: nobody could tell its unit.
 */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0;
  let totalMs = 0;
  PART.lastIndex = 0;
  for (let read = 0; ; read = PART.lastIndex) {
    const part = PART.exec(text);
    if (part === null) return read > 0 && read === text.length ? totalMs : undefined;
    totalMs += Number(part[1]) * (UNIT_MS[part[2] ?? ''] ?? Number.NaN);
  }
}

/** Reads whole or decimal seconds, or a duration, as `Headgate-Max-Wait` allows; milliseconds. */
export function parseSecondsOrDuration(text: string): number | undefined {
  return /^\d{1,9}(?:\.\d{1,9})?$/.test(text) ? Number(text) * 1000 : parseDuration(text);
}
