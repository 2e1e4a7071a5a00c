import type { IncomingMessage } from 'node:http';
import { Transform, type Readable } from 'node:stream';

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
  take(): Readable;
}

/** The caller went away before its body had come. */
export interface GoneBody {
  readonly kind: 'gone';
}

/** Where the bytes that came from the caller are counted. */
export interface BytesIn {
  bytesIn: number;
}

const NO_BODY: NoBody = { kind: 'none', replayable: true, take: () => null };

/**
 * Reads a request's body, up to `limitBytes` of it; what is larger is handed on as a stream, with
 * nothing lost. Answers without a promise when nothing has to be read.
 *
 * Node has answered `Expect: 100-continue` by now, as it does unless a server asks not to.
 */
export function readBody(
  incoming: IncomingMessage,
  limitBytes: number,
  count: BytesIn,
): RequestBody | Promise<RequestBody | GoneBody> {
  const { 'content-length': length, 'transfer-encoding': encoding } = incoming.headers;
  if (encoding === undefined && (length === undefined || Number(length) === 0)) return NO_BODY;
  if (encoding === undefined && Number(length) > limitBytes) return makeStream(incoming, [], count);
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const stop = (): void => {
      incoming.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onClose);
    };
    const onData = (chunk: Buffer): void => {
      chunks.push(chunk);
      size += chunk.length;
      if (size <= limitBytes) return;
      incoming.pause();
      stop();
      resolve(makeStream(incoming, chunks, count));
    };
    const onEnd = (): void => {
      stop();
      count.bytesIn += size;
      const [only] = chunks;
      const bytes = chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks);
      resolve({ kind: 'buffered', replayable: true, take: () => bytes });
    };
    const onClose = (): void => {
      stop();
      count.bytesIn += size;
      resolve({ kind: 'gone' });
    };
    incoming.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onClose);
  });
}

/** `head` is what was read before the body turned out to be large. */
function makeStream(
  incoming: IncomingMessage,
  head: readonly Buffer[],
  count: BytesIn,
): StreamedBody {
  let taken = false;
  return {
    kind: 'stream',
    get replayable() {
      return !taken;
    },
    take() {
      if (taken) throw new Error('a streamed body was sent twice');
      taken = true;
      // A stream of its own in between: whoever destroys it must not take the caller's socket along.
      const stream = new Transform({
        transform(chunk: Buffer, _encoding, done) {
          count.bytesIn += chunk.length;
          done(null, chunk);
        },
      });
      for (const chunk of head) stream.write(chunk);
      incoming.once('close', () => {
        if (!incoming.complete) stream.destroy(new Error('the caller stopped sending its body'));
      });
      incoming.on('error', (error) => stream.destroy(error));
      incoming.pipe(stream);
      return stream;
    },
  };
}
