import type { Clock } from '../util/clock.ts';
import type { HeaderRecord } from '../rate-headers/rate-headers.ts';
import type { Log } from '../telemetry/log.ts';

/** Notes rate headers that could not be understood: `names` of those in `headers`. */
export type NoteDoubtful = (
  bucket: string,
  names: readonly string[],
  headers: HeaderRecord,
) => void;

/** An API that sends one doubtful answer sends a thousand; one line a minute says it. */
const EVERY_MS = 60_000;
const MOST_SHOWN = 100;

/** Warns of doubtful rate headers at most once a minute, and of how many answers had some. */
export function makeNoteDoubtful(log: Log, clock: Clock): NoteDoubtful {
  let quietUntil = Number.NEGATIVE_INFINITY;
  let answers = 0;
  return (bucket, names, headers) => {
    answers++;
    const now = clock.now();
    if (now < quietUntil) return;
    quietUntil = now + EVERY_MS;
    const values = names.map((name) => String(headers[name]).slice(0, MOST_SHOWN));
    log.warn({ bucket, headers: names, values, answers }, 'doubtful rate headers');
    answers = 0;
  };
}
