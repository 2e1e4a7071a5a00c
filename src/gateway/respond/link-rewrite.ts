import type { IncomingMessage } from 'node:http';
import type { Transform } from 'node:stream';
import { callerOrigin } from '../../http/caller-origin.ts';
import { rewriteLink, rewriteLinkField, type LinkMap } from '../../http/links.ts';
import { isJson } from '../../http/media-type.ts';
import { makeOncePerMinute } from '../../util/once-per-minute.ts';
import type { Call } from '../call.ts';
import { codingOf, CODINGS, isTooLarge, type Coding } from './content-codings.ts';
import { MAX_REWRITTEN_BYTES, RewriteInPassing, rewriteJson, RewriteStart } from './json-links.ts';
import type { ForwardedBy } from '../identify/trusted-proxies.ts';
import type { Log } from '../../telemetry/log.ts';
import type { Clock } from '../../util/clock.ts';
import type { UpstreamResponse } from '../../upstream/response.ts';

export interface RewriteOptions {
  /** The API's origin and base path; links to other places are not rewritten. */
  readonly origin: string;
  readonly basePath: string;
  /** The places of links in a JSON answer, as JSON pointers: `/links/next`. */
  readonly jsonLinks: readonly string[];
  readonly forwardedBy: ForwardedBy;
  readonly clock: Clock;
  readonly log: Pick<Log, 'warn'>;
}

/** Rewrites links in the API's answers to lead through the gateway, so that pagination uses it. */
export interface Rewrite {
  /** Rewrites Location, Content-Location and Link in place, in a flat list of name, value, name, value … */
  headers(headers: string[], response: UpstreamResponse, call: LinkingCall): void;
  /** Whether the body may have links, so that it must be complete before it is sent. */
  needsBody(response: UpstreamResponse, call: LinkingCall): boolean;
  /**
   * Rewrites the links in a whole body, or in the first {@link MAX_REWRITTEN_BYTES} of one. Returns
   * without a promise when nothing has to be decoded.
   */
  body(
    bytes: Buffer,
    isWhole: boolean,
    response: UpstreamResponse,
    call: LinkingCall,
  ): RewrittenBody | Promise<RewrittenBody>;
  /**
   * For a body that arrives slowly: the streams in which its links are rewritten as they pass, one
   * after the other; `undefined` if its bytes need not change.
   */
  streams(response: UpstreamResponse, call: LinkingCall): readonly Transform[] | undefined;
}

/** What links depend on besides the answer: the request, and where the caller reaches the API. */
type LinkingCall = Pick<Call, 'incoming' | 'prefix'>;

/** What becomes of a body, or of its beginning. */
export type RewrittenBody =
  | typeof UNCHANGED
  /** In the same content coding. */
  | { readonly kind: 'bytes'; readonly bytes: Buffer }
  /** The body is encoded and large: its bytes pass through these streams, one after the other. */
  | { readonly kind: 'streams'; readonly streams: readonly Transform[] };

const UNCHANGED = { kind: 'unchanged' } as const;

/** A part (206), and a body that means nothing (204, 205), have no links. */
const WITH_LINKS: ReadonlySet<number> = new Set([200, 201, 202, 203]);
const NO_TRANSFORM = /(?:^|,)\s*no-transform\s*(?:,|$)/i;

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
 * Returns an answer's headers (name, value, name, value …) for its rewritten body; `length` is
 * absent if it is not known. A strong ETag becomes a weak one: caches can still use it, and no byte
 * range of other bytes is requested. It is marked as well, so that {@link restoreTags} recognises it.
 */
export function headersForRewritten(headers: readonly string[], length?: number): string[] {
  const kept: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] ?? '';
    const value = headers[i + 1] ?? '';
    const lower = name.toLowerCase();
    if (BYTE_FIELDS.has(lower)) continue;
    kept.push(name, lower === 'etag' ? markedTag(value) : value);
  }
  if (length !== undefined) kept.push('Content-Length', String(length));
  return kept;
}

const TAG_MARK = '-headgate"';
const MARKED_TAG = /(?:W\/)?"([^"]*)-headgate"/g;
const CONDITIONS: ReadonlySet<string> = new Set(['if-match', 'if-none-match', 'if-range']);

function markedTag(etag: string): string {
  return etag.startsWith('"') && etag.endsWith('"') ? `W/${etag.slice(0, -1)}${TAG_MARK}` : etag;
}

/** Replaces the ETags of rewritten answers in a request's headers by those of the API, in place. */
export function restoreTags(headers: string[], { headers: byName }: IncomingMessage): void {
  // Most requests have no conditions.
  if (
    byName['if-match'] === undefined &&
    byName['if-none-match'] === undefined &&
    byName['if-range'] === undefined
  ) {
    return;
  }
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const value = headers[i + 1] ?? '';
    if (!value.includes(TAG_MARK) || !CONDITIONS.has(headers[i]?.toLowerCase() ?? '')) continue;
    headers[i + 1] = value.replaceAll(MARKED_TAG, '"$1"');
  }
}

/** Reports answers whose links may lead past the gateway, at most once a minute. */
function makeWarnOfSkipped({
  clock,
  log,
}: Pick<RewriteOptions, 'clock' | 'log'>): (reason: 'size' | 'coding') => void {
  const answers = { size: 0, coding: 0 };
  const mayWarn = makeOncePerMinute(clock);
  return (reason) => {
    answers[reason]++;
    if (!mayWarn()) return;
    log.warn({ ...answers, maxBytes: MAX_REWRITTEN_BYTES }, 'links not rewritten');
    answers.size = 0;
    answers.coding = 0;
  };
}

export function makeRewrite(options: RewriteOptions): Rewrite {
  const { origin, basePath, jsonLinks, forwardedBy } = options;
  const skipped = makeWarnOfSkipped(options);
  const { host } = new URL(origin);

  function mapFor({ incoming, prefix }: LinkingCall): LinkMap | undefined {
    const { headers, socket } = incoming;
    const own = callerOrigin(headers.host, 'encrypted' in socket, forwardedBy(incoming));
    // A caller that reaches Headgate by DNS uses the API's own origin, so links already fit.
    if (own === undefined || (own === origin && basePath === prefix)) return undefined;
    return { apiOrigin: origin, basePath, callerOrigin: own, prefix };
  }

  function inPlain(plain: Buffer, call: LinkingCall): Buffer | undefined {
    if (basePath === call.prefix && !plain.includes(host)) return undefined;
    const map = mapFor(call);
    return map === undefined ? undefined : rewriteJson(plain, jsonLinks, map);
  }

  return {
    headers(headers, response, call) {
      const { incoming } = call;
      const { location, 'content-location': ownLocation, link, etag } = response.headers;
      // The length of a rewritten body is known only when it was rewritten.
      if (incoming.method === 'HEAD' && mayHaveLinks(response)) remove(headers, 'content-length');
      if (response.status === 304 && typeof etag === 'string') markAgain(headers, etag, incoming);
      if (location === undefined && ownLocation === undefined && link === undefined) return;
      const map = mapFor(call);
      if (map === undefined) return;
      for (let i = 0; i + 1 < headers.length; i += 2) {
        const name = headers[i]?.toLowerCase();
        const value = headers[i + 1] ?? '';
        if (name !== 'location' && name !== 'content-location' && name !== 'link') continue;
        const text = textOf(value);
        const rewritten = name === 'link' ? rewriteLinkField(text, map) : rewriteLink(text, map);
        if (rewritten !== text) headers[i + 1] = rewritten;
      }
    },

    needsBody(response, { incoming }) {
      return incoming.method !== 'HEAD' && mayHaveLinks(response);
    },

    body(bytes, isWhole, { headers }, call) {
      const coding = CODINGS.get(codingOf(headers));
      if (coding === undefined) {
        const rewritten = inPlain(bytes, call);
        if (rewritten !== undefined) return { kind: 'bytes', bytes: rewritten };
        if (!isWhole) skipped('size');
        return UNCHANGED;
      }
      if (!isWhole) return streamsFor(coding, call);
      return coding.decode(bytes, MAX_REWRITTEN_BYTES).then(
        (plain): RewrittenBody | Promise<RewrittenBody> => {
          const rewritten = inPlain(plain, call);
          if (rewritten === undefined) return UNCHANGED;
          return coding.encode(rewritten).then((encoded) => ({ kind: 'bytes', bytes: encoded }));
        },
        (error: unknown): RewrittenBody => {
          if (isTooLarge(error)) return streamsFor(coding, call);
          // A body that cannot be decoded is passed on unchanged.
          skipped('coding');
          return UNCHANGED;
        },
      );
    },

    streams,
  };

  function streams({ headers }: UpstreamResponse, call: LinkingCall): Transform[] | undefined {
    const map = mapFor(call);
    if (map === undefined) return undefined;
    const coding = CODINGS.get(codingOf(headers));
    const rewriting = new RewriteInPassing(jsonLinks, map);
    return coding === undefined ? [rewriting] : [coding.decoder(), rewriting, coding.encoder()];
  }

  function mayHaveLinks({ status, headers }: UpstreamResponse): boolean {
    if (jsonLinks.length === 0 || !WITH_LINKS.has(status)) return false;
    if (!isJson(headers['content-type'])) return false;
    // RFC 9110 §7.7 forbids any change to such a body.
    if (NO_TRANSFORM.test(text(headers['cache-control']))) return false;
    if (CODINGS.has(codingOf(headers))) return true;
    skipped('coding');
    return false;
  }

  function streamsFor(coding: Coding, call: LinkingCall): RewrittenBody {
    const rewriting = new RewriteStart((plain) => {
      const rewritten = inPlain(plain, call);
      if (rewritten === undefined) skipped('size');
      return rewritten ?? plain;
    });
    return { kind: 'streams', streams: [coding.decoder(), rewriting, coding.encoder()] };
  }
}

/** A caller that has a rewritten answer knows it by its marked ETag, also in a 304. */
function markAgain(headers: string[], etag: string, { headers: asked }: IncomingMessage): void {
  const marked = markedTag(etag);
  if (asked['if-none-match']?.includes(marked) !== true) return;
  for (let i = 0; i + 1 < headers.length; i += 2) {
    if (headers[i]?.toLowerCase() === 'etag') headers[i + 1] = marked;
  }
}

function remove(headers: string[], name: string): void {
  for (let i = headers.length - 2; i >= 0; i -= 2) {
    if (headers[i]?.toLowerCase() === name) headers.splice(i, 2);
  }
}

/** A field's value as text: a URL with raw UTF-8 bytes in it arrives as Latin-1. */
function textOf(value: string): string {
  if (!NON_ASCII.test(value)) return value;
  const text = Buffer.from(value, 'latin1').toString('utf8');
  return text.includes('\u{fffd}') ? value : text;
}

const NON_ASCII = /[\u0080-\u00ff]/;

function text(value: string | string[] | undefined): string {
  return typeof value === 'string' ? value : (value?.join(', ') ?? '');
}
