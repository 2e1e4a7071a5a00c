import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';

const CHUNK = 256 * 1024;

/**
 * Yields the bytes of a file; a file named `….gz` is decompressed. Calls `onRead` with the number of
 * bytes that were read of the file itself. Throws when the file cannot be read.
 */
export async function* readFileChunks(
  path: string,
  onRead: (bytes: number) => void,
): AsyncGenerator<Buffer> {
  const file = createReadStream(path, { highWaterMark: CHUNK });
  if (!path.endsWith('.gz')) {
    yield* counted(file, onRead);
    return;
  }
  const unpacked = createGunzip({ chunkSize: CHUNK });
  pipeline(
    file,
    (chunks: AsyncIterable<Buffer>) => counted(chunks, onRead),
    unpacked,
    // A failure destroys `unpacked`, and the loop below throws its error.
    () => undefined,
  );
  for await (const chunk of unpacked) yield bytesOf(chunk);
}

async function* counted(
  chunks: AsyncIterable<unknown>,
  onRead: (bytes: number) => void,
): AsyncGenerator<Buffer> {
  for await (const chunk of chunks) {
    const bytes = bytesOf(chunk);
    onRead(bytes.length);
    yield bytes;
  }
}

/** Narrows a chunk to a buffer. Streams without an encoding yield nothing else. */
export function bytesOf(chunk: unknown): Buffer {
  if (Buffer.isBuffer(chunk)) return chunk;
  throw new TypeError(`expected bytes, got ${typeof chunk}`);
}
