import type { IncomingMessage } from 'node:http';
import { promisify } from 'node:util';
import * as zlib from 'node:zlib';
import { findStrings } from '../http/json-strings.ts';
import { callerOrigin } from '../http/caller-origin.ts';
import { rewriteLink, rewriteLinkField, type LinkMap } from '../http/links.ts';
import type { ForwardedBy } from './trusted-proxies.ts';
import type { UpstreamResponse } from '../upstream/response.ts';

export interface RewriteOptions {
  /** The API's origin and base path; links to other places are not rewritten. */
  readonly origin: string;
  readonly basePath: string;
  /** The places of links in a JSON answer, as JSON pointers: `/links/next`. */
  readonly jsonLinks: readonly string[];
  readonly forwardedBy: ForwardedBy;
}

/** Rewrites links in the API's answers to lead through the gateway, so that pagination uses it. */
export interface Rewrite {
  /** Rewrites Location and Link in place, in a flat list of name, value, name, value … */
  headers(headers: string[], response: UpstreamResponse, incoming: IncomingMessage): void;
  /** Whether the body may have links, so that it must be complete before it is sent. */
  needsBody(response: UpstreamResponse, incoming: IncomingMessage): boolean;
  /**
   * Returns the body with its links rewritten, in the same content coding; `undefined` when there
   * is nothing to rewrite. Returns without a promise when nothing has to be decoded.
   */
  body(
    bytes: Buffer,
    response: UpstreamResponse,
    incoming: IncomingMessage,
  ): Buffer | undefined | Promise<Buffer | undefined>;
}

/** Larger bodies are passed on unchanged, also those that are larger when decoded. */
export const MAX_REWRITTEN_BYTES = 1024 * 1024;
const JSON_TYPE = /^application\/(?:[\w.+-]+\+)?json(?:\s*;|$)/i;
const NO_TRANSFORM = /(?:^|,)\s*no-transform\s*(?:,|$)/i;

/** Decodes and encodes one content coding. */
interface Coding {
  readonly decode: (bytes: Buffer) => Promise<Buffer>;
  readonly encode: (bytes: Buffer) => Promise<Buffer>;
}

const limits = { maxOutputLength: MAX_REWRITTEN_BYTES };
const { BROTLI_PARAM_QUALITY } = zlib.constants;
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
const GZIP: Coding = { decode: (bytes) => gunzip(bytes, limits), encode: gzip };
const CODINGS: ReadonlyMap<string, Coding | undefined> = new Map([
  ['', undefined],
  ['identity', undefined],
  ['gzip', GZIP],
  ['x-gzip', GZIP],
  ['deflate', { decode: (bytes: Buffer) => inflate(bytes, limits), encode: deflate }],
  [
    'br',
    {
      decode: (bytes: Buffer) => unbrotli(bytes, limits),
      encode: (bytes: Buffer) => brotli(bytes, fastBrotli),
    },
  ],
  ['zstd', { decode: (bytes: Buffer) => unzstd(bytes, limits), encode: zstd }],
]);

/** Fields that describe the bytes of a body, and are wrong for a rewritten one. */
const BYTE_FIELDS: ReadonlySet<string> = new Set([
  'accept-ranges',
  'content-digest',
  'content-length',
  'content-md5',
  'digest',
  'repr-digest',
]);

/**
 * Returns an answer's headers (name, value, name, value …) for its `rewritten` body. A strong ETag
 * becomes a weak one: caches can still use it, and no byte range of other bytes is requested.
 */
export function headersForRewritten(headers: readonly string[], rewritten: Buffer): string[] {
  const kept: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] ?? '';
    const value = headers[i + 1] ?? '';
    const lower = name.toLowerCase();
    if (BYTE_FIELDS.has(lower)) continue;
    kept.push(name, lower === 'etag' && value.startsWith('"') ? `W/${value}` : value);
  }
  kept.push('Content-Length', String(rewritten.length));
  return kept;
}

export function makeRewrite(options: RewriteOptions): Rewrite {
  const { origin, basePath, jsonLinks, forwardedBy } = options;
  const { host } = new URL(origin);

  function mapFor(incoming: IncomingMessage): LinkMap | undefined {
    const { headers, socket } = incoming;
    const own = callerOrigin(headers.host, 'encrypted' in socket, forwardedBy(incoming));
    // A caller that reaches Headgate by DNS uses the API's own origin, so links already fit.
    if (own === undefined || (own === origin && basePath === '')) return undefined;
    return { apiOrigin: origin, basePath, callerOrigin: own };
  }

  function inPlain(plain: Buffer, incoming: IncomingMessage): Buffer | undefined {
    if (basePath === '' && !plain.includes(host)) return undefined;
    const map = mapFor(incoming);
    return map === undefined ? undefined : rewriteJson(plain, jsonLinks, map);
  }

  return {
    headers(headers, response, incoming) {
      const { location, link } = response.headers;
      if (location === undefined && link === undefined) return;
      const map = mapFor(incoming);
      if (map === undefined) return;
      for (let i = 0; i + 1 < headers.length; i += 2) {
        const name = headers[i]?.toLowerCase();
        const value = headers[i + 1] ?? '';
        if (name !== 'location' && name !== 'link') continue;
        const text = textOf(value);
        const rewritten =
          name === 'location' ? rewriteLink(text, map) : rewriteLinkField(text, map);
        if (rewritten !== text) headers[i + 1] = rewritten;
      }
    },

    needsBody({ status, headers }, incoming) {
      if (jsonLinks.length === 0 || status !== 200 || incoming.method !== 'GET') return false;
      if (!JSON_TYPE.test(text(headers['content-type']))) return false;
      if (Number(headers['content-length'] ?? 0) > MAX_REWRITTEN_BYTES) return false;
      // RFC 9110 §7.7 forbids any change to such a body.
      if (NO_TRANSFORM.test(text(headers['cache-control']))) return false;
      return CODINGS.has(codingOf(headers));
    },

    body(bytes, { headers }, incoming) {
      const coding = CODINGS.get(codingOf(headers));
      if (coding === undefined) return inPlain(bytes, incoming);
      return coding.decode(bytes).then(
        (plain) => {
          const rewritten = inPlain(plain, incoming);
          return rewritten === undefined ? undefined : coding.encode(rewritten);
        },
        // A body that cannot be decoded, or is too large when decoded, is passed on unchanged.
        () => undefined,
      );
    },
  };
}

/**
 * Rewrites the links at `pointers`; `undefined` if there are none to rewrite. The text is read as
 * Latin-1, which keeps each byte outside the links, whatever the encoding of the text is.
 */
function rewriteJson(plain: Buffer, pointers: readonly string[], map: LinkMap): Buffer | undefined {
  const json = plain.toString('latin1');
  let rewritten = '';
  let copiedTo = 0;
  for (const { start, end } of findStrings(json, pointers)) {
    const link = readJsonString(plain.subarray(start, end));
    const rewrittenLink = link === undefined ? undefined : rewriteLink(link, map);
    if (rewrittenLink === undefined || rewrittenLink === link) continue;
    rewritten += json.slice(copiedTo, start) + JSON.stringify(rewrittenLink);
    copiedTo = end;
  }
  return copiedTo === 0 ? undefined : Buffer.from(rewritten + json.slice(copiedTo), 'latin1');
}

/** The text of a JSON string; `undefined` if the bytes are not one. */
function readJsonString(bytes: Buffer): string | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    return typeof value === 'string' ? value : undefined;
  } catch {
    // Such a string is no link that a client could follow.
    return undefined;
  }
}

/** A field's value as text: a URL with raw UTF-8 bytes in it arrives as Latin-1. */
function textOf(value: string): string {
  if (!NON_ASCII.test(value)) return value;
  const text = Buffer.from(value, 'latin1').toString('utf8');
  return text.includes('\u{fffd}') ? value : text;
}

const NON_ASCII = /[\u0080-\u00ff]/;

function codingOf(headers: UpstreamResponse['headers']): string {
  return text(headers['content-encoding']).trim().toLowerCase();
}

function text(value: string | string[] | undefined): string {
  return typeof value === 'string' ? value : (value?.join(', ') ?? '');
}
