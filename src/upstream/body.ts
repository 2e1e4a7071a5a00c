import type { IncomingMessage } from 'node:http';
import { Transform, type Readable } from 'node:stream';
import type { Clock, Timer } from '../util/clock.ts';
import type { CallerSignal } from '../ledger/ledger.ts';
import { testConnection } from './connection-test.ts';
import { ChunkBuffer } from './request-memory.ts';

/** The body of a request to the API. */
export type RequestBody = NoBody | BufferedBody | StreamedBody;

export interface NoBody {
  readonly kind: 'none';
  readonly replayable: true;
  take(): null;
}

/** A body that is small enough to keep: every attempt sends the same bytes. */
export interface BufferedBody {
  readonly kind: 'buffered';
  readonly replayable: true;
  take(): Buffer;
}

/** A body that is too large to keep: it can be sent once, so a second attempt is not possible. */
export interface StreamedBody {
  readonly kind: 'stream';
  readonly replayable: boolean;
  /** Tests the caller's connection; resolves when a broken one has been reported to the call. */
  checkCaller(): Promise<void>;
  take(): Readable;
}

/** The caller disconnected before its body was complete. */
export interface GoneBody {
  readonly kind: 'gone';
}

/** The call that a body belongs to, and what it is informed of. */
export interface BodySource extends CallerSignal {
  readonly incoming: IncomingMessage;
  /** The call has its answer, or its caller has gone. */
  readonly ended: boolean;
  /** `bytes` of the body have been read. */
  received(bytes: number): void;
  /** The body is about to be read: a caller that waits for `100 Continue` may send it. */
  sendContinue(): void;
  /** `bytes` more of the body are kept in memory. */
  kept(bytes: number): void;
  /**
   * The body is being sent over a socket to the API. `reading`: whether it waits for its caller. The
   * result is called when all of it has arrived, or when it is not read any more.
   */
  sending(reading: () => boolean): () => void;
  /** No byte arrived for the idle timeout while the body was being read. */
  stalled(): void;
  /** The body arrived at less than the least rate while it held a socket to the API. */
  tooSlow(): void;
  /** The body is longer than {@link BodyLimits.mostBytes}. */
  tooLarge(): void;
}

export interface BodyLimits {
  /** A body up to this size is kept and can be sent again. */
  readonly keepBytes: number;
  /** A larger body is refused. */
  readonly mostBytes: number;
  /** Milliseconds without a byte while the body is being read. */
  readonly idleTimeoutMs: number;
  /** Bytes in a second, while a body holds a socket to the API and the API reads; 0: any rate. */
  readonly leastRate: number;
  readonly clock: Clock;
}

export const NO_BODY: NoBody = { kind: 'none', replayable: true, take: () => null };

/** How often a caller's connection is tested while its body is not being read. */
const CHECK_CALLER_EVERY_MS = 1000;

/** The declared length of a request's body, 0 without a body (RFC 9112 §6.3). */
export function bodyLength({ headers }: IncomingMessage): number | 'unknown' {
  if (headers['transfer-encoding'] !== undefined) return 'unknown';
  return Number(headers['content-length'] ?? 0);
}

/**
 * Reads a request's body if it has at most `keepBytes`. A larger body becomes a stream without
 * loss. It is not read before it is taken, and its caller receives no `100 Continue` before that.
 */
export function readBody(
  source: BodySource,
  limits: BodyLimits,
): StreamedBody | Promise<BufferedBody | StreamedBody | GoneBody> {
  const { incoming } = source;
  const { keepBytes } = limits;
  const length = bodyLength(incoming);
  if (length !== 'unknown' && length > keepBytes) return makeStream(source, limits, []);
  if (source.gone) return Promise.resolve({ kind: 'gone' });
  source.sendContinue();
  return new Promise((resolve) => {
    const chunks = new ChunkBuffer();
    let size = 0;
    const idle = watchIdle(limits, source, () => true);
    const stop = (): void => {
      idle.stop();
      removeListener();
      incoming.off('data', onData).off('end', onEnd).off('close', onGone).off('error', onGone);
    };
    const onData = (chunk: Buffer): void => {
      idle.progress();
      chunks.add(chunk);
      size += chunk.length;
      source.kept(chunk.length);
      if (size <= keepBytes || source.gone) return;
      incoming.pause();
      stop();
      resolve(makeStream(source, limits, chunks.all()));
    };
    const onEnd = (): void => {
      stop();
      source.received(size);
      const all = chunks.all();
      const [only] = all;
      const bytes = all.length === 1 && only !== undefined ? only : Buffer.concat(all);
      resolve({ kind: 'buffered', replayable: true, take: () => bytes });
    };
    const onGone = (): void => {
      stop();
      source.received(size);
      resolve({ kind: 'gone' });
    };
    const removeListener = source.onGone(onGone);
    incoming.on('data', onData).on('end', onEnd).on('close', onGone).on('error', onGone);
  });
}

/** `head`: the bytes that were read before the body proved to be large. */
function makeStream(source: BodySource, limits: BodyLimits, head: readonly Buffer[]): StreamedBody {
  const { incoming } = source;
  const { socket } = incoming;
  const checking = every(limits.clock, CHECK_CALLER_EVERY_MS, () => {
    if (source.ended || socket.destroyed) return false;
    void checkSocket(source);
    return true;
  });
  incoming.once('close', checking.stop);
  let taken = false;
  return {
    kind: 'stream',
    get replayable() {
      return !taken;
    },
    async checkCaller() {
      await checkSocket(source);
    },
    take() {
      if (taken) throw new Error('a streamed body was sent twice');
      taken = true;
      checking.stop();
      source.sendContinue();
      return flow(source, limits, head);
    },
  };

  /**
   * Finds out whether the connection is broken, which the call notices. An orderly close behind unread
   * bytes cannot be seen before they are read.
   */
  function checkSocket({ ended }: BodySource): Promise<void> {
    if (ended || socket.destroyed) return Promise.resolve();
    return new Promise((resolve) => {
      testConnection(socket, resolve);
    });
  }
}

/** A stream of the body from its first byte, as fast as it is read. */
function flow(source: BodySource, limits: BodyLimits, head: readonly Buffer[]): Readable {
  const { incoming } = source;
  let size = 0;
  // undici may destroy the stream that it reads, which must not destroy the caller's socket.
  const stream = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      idle.progress();
      rate.received(chunk.length);
      size += chunk.length;
      source.received(chunk.length);
      if (size <= limits.mostBytes) return done(null, chunk);
      source.tooLarge();
      done(new Error('the body is longer than allowed'));
    },
  });
  // While the API does not read, the caller cannot send, and the idle timeout does not run.
  const reading = (): boolean => !stream.writableNeedDrain;
  const idle = watchIdle(limits, source, reading);
  const rate = watchRate(limits, source, reading);
  const onArrived = source.sending(reading);
  const stop = (): void => {
    idle.stop();
    rate.stop();
    onArrived();
  };
  stream.once('close', () => {
    stop();
    // The part that the API did not read must not block the caller's next request.
    incoming.unpipe(stream).resume();
  });
  // An error is handled by the stream's reader. This listener is for when there is none any more.
  stream.on('error', stop);
  for (const chunk of head) stream.write(chunk);
  incoming.once('end', stop);
  incoming.once('close', () => {
    if (!incoming.complete) stream.destroy(new Error('the caller stopped sending its body'));
  });
  incoming.on('error', (error) => stream.destroy(error));
  incoming.pipe(stream);
  return stream;
}

interface Watch {
  readonly stop: () => void;
}

/** Reports a stall to the source: no byte for the idle timeout while `reading` returns true. */
function watchIdle(
  { clock, idleTimeoutMs }: BodyLimits,
  source: BodySource,
  reading: () => boolean,
): Watch & { progress(): void } {
  let lastAt = clock.now();
  let timer: Timer | undefined = clock.after(idleTimeoutMs, check);
  function check(): void {
    if (!reading()) lastAt = clock.now();
    const leftMs = lastAt + idleTimeoutMs - clock.now();
    if (leftMs > 0) timer = clock.after(leftMs, check);
    else {
      timer = undefined;
      source.stalled();
    }
  }
  return {
    progress() {
      lastAt = clock.now();
    },
    stop() {
      timer?.cancel();
      timer = undefined;
    },
  };
}

/** How long an upload may be slower than the least rate: in each window, and at first. */
const RATE_WINDOW_S = 10;

/**
 * Reports a body that arrives too slowly, because it holds one of few sockets to the API. Whole
 * windows of {@link RATE_WINDOW_S} seconds count, and of these only the seconds in which `reading`
 * returns true; the first window is free. So a body of n bytes takes at most n / rate seconds and
 * two windows of the API's time, whatever its caller does.
 */
function watchRate(
  { clock, leastRate }: BodyLimits,
  source: BodySource,
  reading: () => boolean,
): Watch & { received(bytes: number): void } {
  let windows = 0;
  let seconds = 0;
  let bytes = 0;
  const watch = every(clock, 1000, () => {
    if (reading()) seconds++;
    if (seconds < RATE_WINDOW_S) return true;
    const isTooSlow = windows > 0 && bytes < leastRate * RATE_WINDOW_S;
    windows++;
    seconds = 0;
    bytes = 0;
    if (isTooSlow) source.tooSlow();
    return !isTooSlow;
  });
  return {
    received(more) {
      bytes += more;
    },
    stop: watch.stop,
  };
}

/** Calls `run` every `ms` milliseconds until it is stopped, or `run` returns false. */
function every(clock: Clock, ms: number, run: () => boolean): Watch {
  let isStopped = false;
  let timer = clock.after(ms, again);
  function again(): void {
    if (run() && !isStopped) timer = clock.after(ms, again);
  }
  return {
    stop() {
      isStopped = true;
      timer.cancel();
    },
  };
}
