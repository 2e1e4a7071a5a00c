import type { IncomingMessage } from 'node:http';
import { Transform, type Readable } from 'node:stream';
import type { Clock, Timer } from '../util/clock.ts';
import type { CallerSignal } from '../ledger/ledger.ts';
import { Pieces } from './pieces.ts';

/** A request's body on its way to the API. */
export type RequestBody = NoBody | BufferedBody | StreamedBody;

export interface NoBody {
  readonly kind: 'none';
  readonly replayable: true;
  take(): null;
}

/** Small enough to keep: every attempt sends the same bytes. */
export interface BufferedBody {
  readonly kind: 'buffered';
  readonly replayable: true;
  take(): Buffer;
}

/** Too large to keep: it goes through once, and a second attempt has nothing to send. */
export interface StreamedBody {
  readonly kind: 'stream';
  readonly replayable: boolean;
  /** Resolves when it was looked whether the caller is still there, as far as that can be seen. */
  probe(): Promise<void>;
  take(): Readable;
}

/** The caller went away before its body had come. */
export interface GoneBody {
  readonly kind: 'gone';
}

/** The caller that a body comes from, and whom to tell what happens to it. */
export interface BodySource extends CallerSignal {
  readonly incoming: IncomingMessage;
  /** The call has had its answer, or nobody is left to have one. */
  readonly over: boolean;
  /** So many bytes of it came. */
  count(bytes: number): void;
  /** Somebody reads now: a caller that waits for `100 Continue` may send. */
  letBodyCome(): void;
  /** So many more bytes are kept in memory for it. */
  held(bytes: number): void;
  /** Nothing came for the idle timeout although somebody was reading. */
  stalled(): void;
  /** More came than may. */
  tooLarge(): void;
}

export interface BodyLimits {
  /** Up to this much is kept and can be sent again. */
  readonly keepBytes: number;
  /** More than this is not accepted. */
  readonly mostBytes: number;
  /** Milliseconds without a byte while we read. */
  readonly idleTimeoutMs: number;
  readonly clock: Clock;
}

export const NO_BODY: NoBody = { kind: 'none', replayable: true, take: () => null };

/** How often it is looked whether a caller is still there whose body nobody reads yet. */
const PROBE_EVERY_MS = 1000;

/** Whether a request comes with a body (RFC 9112 §6.3); its length, as far as it is declared. */
export function bodyLength({ headers }: IncomingMessage): number | 'unknown' {
  if (headers['transfer-encoding'] !== undefined) return 'unknown';
  return Number(headers['content-length'] ?? 0);
}

/**
 * Reads a request's body, up to `keepBytes` of it; what is larger is handed on as a stream, with
 * nothing lost, and is not read, nor is its `100 Continue` said, before somebody takes it.
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
  source.letBodyCome();
  return new Promise((resolve) => {
    const pieces = new Pieces();
    let size = 0;
    const idle = watchIdle(limits, source, () => true);
    const stop = (): void => {
      idle.stop();
      removeListener();
      incoming.off('data', onData).off('end', onEnd).off('close', onGone).off('error', onGone);
    };
    const onData = (chunk: Buffer): void => {
      idle.progress();
      pieces.add(chunk);
      size += chunk.length;
      source.held(chunk.length);
      if (size <= keepBytes || source.gone) return;
      incoming.pause();
      stop();
      resolve(makeStream(source, limits, pieces.all()));
    };
    const onEnd = (): void => {
      stop();
      source.count(size);
      const all = pieces.all();
      const [only] = all;
      const bytes = all.length === 1 && only !== undefined ? only : Buffer.concat(all);
      resolve({ kind: 'buffered', replayable: true, take: () => bytes });
    };
    const onGone = (): void => {
      stop();
      source.count(size);
      resolve({ kind: 'gone' });
    };
    const removeListener = source.onGone(onGone);
    incoming.on('data', onData).on('end', onEnd).on('close', onGone).on('error', onGone);
  });
}

/** `head` is what was read before the body turned out to be large. */
function makeStream(source: BodySource, limits: BodyLimits, head: readonly Buffer[]): StreamedBody {
  const { incoming } = source;
  const { socket } = incoming;
  const probing = every(limits.clock, PROBE_EVERY_MS, () => {
    if (source.over || socket.destroyed) return false;
    void probeSocket(source);
    return true;
  });
  incoming.once('close', probing.stop);
  let taken = false;
  return {
    kind: 'stream',
    get replayable() {
      return !taken;
    },
    async probe() {
      await probeSocket(source);
    },
    take() {
      if (taken) throw new Error('a streamed body was sent twice');
      taken = true;
      probing.stop();
      source.letBodyCome();
      return flow(source, limits, head);
    },
  };

  /**
   * A socket that nobody reads tells nothing. Writing no bytes sends nothing either, but finds out
   * whether the other side has reset the connection or stopped answering keep-alive probes; Node
   * then closes the socket, and the call hears of it. A caller that closed in good order behind
   * bytes that we have not read yet cannot be seen before they are read.
   */
  function probeSocket({ over }: BodySource): Promise<void> {
    if (over || socket.destroyed) return Promise.resolve();
    return new Promise((resolve) => {
      socket.write('', () => resolve());
    });
  }
}

/** The body from its first byte on, as fast as it is read. */
function flow(source: BodySource, limits: BodyLimits, head: readonly Buffer[]): Readable {
  const { incoming } = source;
  let size = 0;
  // A stream of its own in between: whoever destroys it must not take the caller's socket along.
  const stream = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      idle.progress();
      size += chunk.length;
      source.count(chunk.length);
      if (size <= limits.mostBytes) return done(null, chunk);
      source.tooLarge();
      done(new Error('the body is longer than allowed'));
    },
  });
  // While the API does not read, the caller is not to blame for sending nothing.
  const idle = watchIdle(limits, source, () => !stream.writableNeedDrain);
  stream.once('close', () => {
    idle.stop();
    // What the API did not want to read must not lie in the way of the caller's next request.
    incoming.unpipe(stream).resume();
  });
  // Who reads it listens, too. When nobody does any more, nobody is left to be told.
  stream.on('error', idle.stop);
  for (const chunk of head) stream.write(chunk);
  incoming.once('end', idle.stop);
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

/** Tells the source when nothing came for the idle timeout while `reading` said that we read. */
function watchIdle(
  { clock, idleTimeoutMs }: BodyLimits,
  source: BodySource,
  reading: () => boolean,
): Watch & { progress(): void } {
  let lastAt = clock.now();
  let timer: Timer | undefined = clock.after(idleTimeoutMs, look);
  function look(): void {
    if (!reading()) lastAt = clock.now();
    const leftMs = lastAt + idleTimeoutMs - clock.now();
    if (leftMs > 0) timer = clock.after(leftMs, look);
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

/** Runs `run` again and again, until it is stopped or says `false`. */
function every(clock: Clock, ms: number, run: () => boolean): Watch {
  let timer = clock.after(ms, again);
  function again(): void {
    if (run()) timer = clock.after(ms, again);
  }
  return { stop: () => timer.cancel() };
}
