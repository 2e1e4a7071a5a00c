import { pino, type DestinationStream, type Logger } from 'pino';
import { describeError } from './error-description.ts';
import type { Clock } from '../util/clock.ts';
import type { Output } from './log-output.ts';

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

export interface Log extends Logger {
  /**
   * Writes one line as `info(fields, msg)` would, at a fifth of its cost, for what is written with
   * every call. Fields are plain: strings, numbers, and `undefined` for what is absent.
   */
  line(fields: { readonly id: string }, msg: string): void;
}

export interface LogOptions {
  readonly level: LogLevel;
  /** Which gateway process wrote a line. */
  readonly replica: string;
  readonly clock: Clock;
  /** Where lines go: an {@link Output}, unless a test wants to read them. */
  readonly destination: DestinationStream;
}

/**
 * A log of one JSON object a line. Values are escaped by JSON, so no caller's bytes can forge one.
 */
export function makeLog({ level, replica, clock, destination }: LogOptions): Log {
  const stamp = makeStamp(clock);
  const logger = pino(
    {
      level,
      base: { replica },
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: describeError },
      timestamp: () => `,"time":"${stamp()}"`,
    },
    destination,
  );
  const ofReplica = JSON.stringify(replica);
  return Object.assign(logger, {
    line(fields: { readonly id: string }, msg: string): void {
      if (!logger.isLevelEnabled('info')) return;
      const own = JSON.stringify(fields).slice(1, -1);
      const head = `{"level":"info","time":"${stamp()}","replica":${ofReplica}`;
      destination.write(`${head},${own},"msg":${JSON.stringify(msg)}}\n`);
    },
  });
}

/** The time in ISO 8601; under load many lines share a millisecond, and its text. */
function makeStamp(clock: Clock): () => string {
  let atMs = Number.NaN;
  let text = '';
  return () => {
    const now = clock.wallMs();
    if (now !== atMs) {
      atMs = now;
      text = new Date(now).toISOString();
    }
    return text;
  };
}

/** Has `output` say in the log itself what it had to drop. */
export function tellLostLines(log: Log, output: Output): void {
  output.onLost((lines) => log.warn({ lines, total: output.linesLost }, 'lines lost'));
}
