import { pino, type DestinationStream, type Logger } from 'pino';
import type { Clock } from '../core/clock.ts';
import type { Output } from './output.ts';

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

export type Log = Logger;

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
  return pino(
    {
      level,
      base: { replica },
      formatters: { level: (label) => ({ level: label }) },
      timestamp: () => `,"time":"${new Date(clock.wallMs()).toISOString()}"`,
    },
    destination,
  );
}

/** Has `output` say in the log itself what it had to drop. */
export function tellLostLines(log: Log, output: Output): void {
  output.onLost((lines) => log.warn({ lines, total: output.linesLost }, 'lines lost'));
}
