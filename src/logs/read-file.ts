import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';

const CHUNK = 256 * 1024;

/**
 * The bytes of a file, once through; of one named `….gz` what it holds, unpacked. `onRead` hears how
 * many bytes of the file itself were read. Throws when the file cannot be read.
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
    // A failure destroys `unpacked`, and whoever reads that hears of it there.
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

/** Streams without an encoding give buffers; anything else would be a bug here. */
export function bytesOf(chunk: unknown): Buffer {
  if (Buffer.isBuffer(chunk)) return chunk;
  throw new TypeError(`expected bytes, got ${typeof chunk}`);
}
