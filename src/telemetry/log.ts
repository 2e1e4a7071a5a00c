import { pino, type DestinationStream, type Logger } from 'pino';
import type { Clock } from '../core/clock.ts';

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

export type Log = Logger;

export interface LogOptions {
  readonly level: LogLevel;
  /** Which gateway process wrote a line. */
  readonly replica: string;
  readonly clock: Clock;
  /** Where lines go; {@link stdoutDestination} unless a test wants to read them. */
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

/** Lines are gathered up to this many characters, or for the flush period, before a write. */
const GATHER = 4096;
const FLUSH_EVERY_MS = 100;
/** Waiting output beyond this is dropped: a reader that stalls must not take our memory. */
const MOST_WAITING = 16 * 1024 * 1024;

export interface Destination extends DestinationStream {
  /** Writes out what waits, now; for the last moments of the process. */
  flushSync(): void;
  /** How many writes were dropped because the reader stalled. */
  readonly dropped: number;
}

/** Standard output, written off the event loop and flushed when the process ends. */
export function stdoutDestination(): Destination {
  const sink = pino.destination({
    dest: 1,
    sync: false,
    minLength: GATHER,
    periodicFlush: FLUSH_EVERY_MS,
    maxLength: MOST_WAITING,
  });
  let dropped = 0;
  sink.on('drop', () => dropped++);
  // A reader that went away (EPIPE) ends the log, not the gateway.
  sink.on('error', () => dropped++);
  return {
    write: (line) => void sink.write(line),
    flushSync: () => sink.flushSync(),
    get dropped() {
      return dropped;
    },
  };
}
