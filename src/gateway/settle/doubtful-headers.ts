import type { HeaderRecord } from '../../rate-headers/rate-headers.ts';
import type { Log } from '../../telemetry/log.ts';
import type { Clock } from '../../util/clock.ts';
import { makeOncePerMinute } from '../../util/once-per-minute.ts';

/** Reports the rate headers `names` of an answer, which could not be understood. */
export type WarnOfDoubtful = (
  bucket: string,
  names: readonly string[],
  headers: HeaderRecord,
) => void;

const MAX_SHOWN_CHARACTERS = 100;

/**
 * Warns at most once a minute, with the number of answers that had doubtful rate headers: an API that
 * sends one such answer usually sends many.
 */
export function makeWarnOfDoubtful(log: Log, clock: Clock): WarnOfDoubtful {
  const mayWarn = makeOncePerMinute(clock);
  let answers = 0;
  return (bucket, names, headers) => {
    answers++;
    if (!mayWarn()) return;
    const values = names.map((name) => String(headers[name]).slice(0, MAX_SHOWN_CHARACTERS));
    log.warn({ bucket, headers: names, values, answers }, 'doubtful rate headers');
    answers = 0;
  };
}
