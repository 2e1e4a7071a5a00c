import { pino, type DestinationStream, type Logger } from 'pino';
import type { Clock } from '../util/clock.ts';
import type { LogLevel } from '../util/log-settings.ts';
import type { LogOutput } from './log-output.ts';

export interface Log extends Logger {
  /**
   * Writes one line as `info(fields, msg)` would, at a fifth of its cost: for the line of every
   * call. The fields are strings, numbers, or `undefined` for an absent one.
   */
  line(fields: { readonly id: string }, msg: string): void;
}

export interface LogOptions {
  readonly level: LogLevel;
  /** Names the gateway process in every line. */
  readonly replica: string;
  readonly clock: Clock;
  /** A {@link LogOutput}, unless a test reads the lines. */
  readonly destination: DestinationStream;
}

/** A log of one JSON object per line. JSON escapes all values, so no caller can forge a line. */
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
  const replicaJson = JSON.stringify(replica);
  return Object.assign(logger, {
    line(fields: { readonly id: string }, msg: string): void {
      if (!logger.isLevelEnabled('info')) return;
      const fieldsJson = JSON.stringify(fields).slice(1, -1);
      const head = `{"level":"info","time":"${stamp()}","replica":${replicaJson}`;
      destination.write(`${head},${fieldsJson},"msg":${JSON.stringify(msg)}}\n`);
    },
  });
}

/** A log whose lines name an API, except those of calls, which name it themselves. */
export function logOfApi(log: Log, api: string): Log {
  return Object.assign(log.child({ api }), {
    line: (fields: { readonly id: string }, msg: string) => log.line(fields, msg),
  });
}

/** The time in ISO 8601. Under load many lines share a millisecond, so its text is kept. */
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

/** Logs how many lines `output` lost. */
export function reportLostLines(log: Log, output: LogOutput): void {
  output.onLost((lines) => log.warn({ lines, total: output.linesLost }, 'lines lost'));
}

/** An error as a log line shows it. */
interface ErrorDescription {
  readonly type: string;
  readonly message: string;
  readonly code?: string;
  readonly stack?: string;
  readonly cause?: ErrorDescription;
}

const MAX_MESSAGE = 1000;
const MAX_STACK = 8000;
const MAX_CAUSES = 4;

/**
 * Describes an error by these fields and no others, each of bounded length. Errors carry more that
 * must not be logged: a parser's error has bytes of the API's answer, a certificate's error has the
 * whole certificate.
 */
function describeError(error: unknown, depth = 0): ErrorDescription {
  if (!(error instanceof Error)) {
    return { type: typeof error, message: String(error).slice(0, MAX_MESSAGE) };
  }
  const { name, message, stack, cause } = error;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  return {
    type: name,
    message: message.slice(0, MAX_MESSAGE),
    ...(code === undefined ? {} : { code }),
    ...(stack === undefined ? {} : { stack: stack.slice(0, MAX_STACK) }),
    ...(cause === undefined || depth === MAX_CAUSES
      ? {}
      : { cause: describeError(cause, depth + 1) }),
  };
}
