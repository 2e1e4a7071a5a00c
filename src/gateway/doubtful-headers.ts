import type { HeaderRecord } from '../rate-headers/rate-headers.ts';
import type { Log } from '../telemetry/log.ts';
import type { Clock } from '../util/clock.ts';

/** Reports the rate headers `names` of an answer, which could not be understood. */
export type WarnOfDoubtful = (
  bucket: string,
  names: readonly string[],
  headers: HeaderRecord,
) => void;

/** An API that sends one doubtful answer usually sends many, so one line a minute is enough. */
const WARN_INTERVAL_MS = 60_000;
const MAX_SHOWN_CHARACTERS = 100;

/** Warns at most once a minute, with the number of answers that had doubtful rate headers. */
export function makeWarnOfDoubtful(log: Log, clock: Clock): WarnOfDoubtful {
  let quietUntil = Number.NEGATIVE_INFINITY;
  let answers = 0;
  return (bucket, names, headers) => {
    answers++;
    const now = clock.now();
    if (now < quietUntil) return;
    quietUntil = now + WARN_INTERVAL_MS;
    const values = names.map((name) => String(headers[name]).slice(0, MAX_SHOWN_CHARACTERS));
    log.warn({ bucket, headers: names, values, answers }, 'doubtful rate headers');
    answers = 0;
  };
}
