import type { Transform } from 'node:stream';
import { promisify } from 'node:util';
import * as zlib from 'node:zlib';
import type { HeaderRecord } from '../../rate-headers/rate-headers.ts';

/** Decodes and encodes one content coding (RFC 9110 §8.4.1). */
export interface Coding {
  /** Rejects if the result has more than `maxBytes`: see {@link isTooLarge}. */
  readonly decode: (bytes: Buffer, maxBytes: number) => Promise<Buffer>;
  readonly encode: (bytes: Buffer) => Promise<Buffer>;
  readonly decoder: () => Transform;
  /** Holds nothing back: a body may arrive slowly, and its client reads it as it arrives. */
  readonly encoder: () => Transform;
}

const { BROTLI_OPERATION_FLUSH, BROTLI_PARAM_QUALITY, Z_SYNC_FLUSH, ZSTD_e_flush } = zlib.constants;
/** Brotli's default quality is meant for files that are compressed once. */
const fastBrotli = { params: { [BROTLI_PARAM_QUALITY]: 4 } };
const gunzip = promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.gunzip);
const gzip = promisify<Buffer, Buffer>(zlib.gzip);
const inflate = promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.inflate);
const deflate = promisify<Buffer, Buffer>(zlib.deflate);
const unbrotli = promisify<Buffer, zlib.BrotliOptions, Buffer>(zlib.brotliDecompress);
const brotli = promisify<Buffer, zlib.BrotliOptions, Buffer>(zlib.brotliCompress);
const unzstd = promisify<Buffer, zlib.ZstdOptions, Buffer>(zlib.zstdDecompress);
const zstd = promisify<Buffer, Buffer>(zlib.zstdCompress);
const GZIP: Coding = {
  decode: (bytes, maxBytes) => gunzip(bytes, { maxOutputLength: maxBytes }),
  encode: gzip,
  decoder: () => zlib.createGunzip(),
  encoder: () => zlib.createGzip({ flush: Z_SYNC_FLUSH }),
};
/** The codings that can be decoded and encoded, by name; `undefined`: none is applied. */
export const CODINGS: ReadonlyMap<string, Coding | undefined> = new Map([
  ['', undefined],
  ['identity', undefined],
  ['gzip', GZIP],
  ['x-gzip', GZIP],
  [
    'deflate',
    {
      decode: (bytes, maxBytes) => inflate(bytes, { maxOutputLength: maxBytes }),
      encode: deflate,
      decoder: () => zlib.createInflate(),
      encoder: () => zlib.createDeflate({ flush: Z_SYNC_FLUSH }),
    },
  ],
  [
    'br',
    {
      decode: (bytes, maxBytes) => unbrotli(bytes, { maxOutputLength: maxBytes }),
      encode: (bytes) => brotli(bytes, fastBrotli),
      decoder: () => zlib.createBrotliDecompress(),
      encoder: () => zlib.createBrotliCompress({ ...fastBrotli, flush: BROTLI_OPERATION_FLUSH }),
    },
  ],
  [
    'zstd',
    {
      decode: (bytes, maxBytes) => unzstd(bytes, { maxOutputLength: maxBytes }),
      encode: zstd,
      decoder: () => zlib.createZstdDecompress(),
      encoder: () => zlib.createZstdCompress({ flush: ZSTD_e_flush }),
    },
  ],
]);

/** The content coding of an answer, as a name in {@link CODINGS}; several are no name there. */
export function codingOf({ 'content-encoding': coding }: HeaderRecord): string {
  const text = typeof coding === 'string' ? coding : (coding?.join(', ') ?? '');
  return text.trim().toLowerCase();
}

/** Whether decoding failed because the result is too large. */
export function isTooLarge(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_BUFFER_TOO_LARGE';
}
