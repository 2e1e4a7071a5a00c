import type { IncomingMessage } from 'node:http';
import { decodableOnly, ensureVersion, type VersionRequest } from '../../http/accept.ts';
import { makeHeadersForApi } from '../../http/header-filter.ts';
import { viaOnward } from '../../http/via.ts';
import { restoreTags } from '../respond/link-rewrite.ts';
import { GatewayError } from '../problem.ts';

/**
 * Returns the headers of a request that are sent to the API, without the token: name, value, name,
 * value … Throws a {@link GatewayError} for a request that has passed through this gateway before.
 */
export type HeadersFor = (
  incoming: IncomingMessage,
  addsToken: boolean,
  dropsCookies: boolean,
) => string[];

export interface HeadersForDependencies {
  readonly apiVersion: VersionRequest | 'off';
  /** Lower-case names of request fields that pass although they are usually dropped. */
  readonly allowHeaders: readonly string[];
  /** The id of this gateway in Via; `undefined` omits the field. */
  readonly viaId: string | undefined;
  /**
   * Whether bodies of answers are read, so that only encodings that Headgate can decode are
   * requested.
   */
  readonly readsAnswers: boolean;
}

export function makeHeadersFor(dependencies: HeadersForDependencies): HeadersFor {
  const { apiVersion, allowHeaders, viaId, readsAnswers } = dependencies;
  /** Fields of the caller's request that Headgate replaces. */
  const replaced = new Set(['host']);
  if (apiVersion !== 'off' && apiVersion.kind === 'accept') replaced.add('accept');
  if (readsAnswers) replaced.add('accept-encoding');
  const endToEnd = makeHeadersForApi({ replaced, allowed: allowHeaders });
  const withoutCookies = makeHeadersForApi({
    replaced: [...replaced, 'cookie'],
    allowed: allowHeaders,
  });

  return (incoming, addsToken, dropsCookies) => {
    const { accept, via, authorization, 'accept-encoding': encodings } = incoming.headers;
    const headers = (dropsCookies ? withoutCookies : endToEnd)(incoming.rawHeaders);
    if (addsToken && authorization !== undefined) removeField(headers, 'authorization');
    if (incoming.method === 'OPTIONS') countForward(headers, incoming);
    if (apiVersion !== 'off' && apiVersion.kind === 'field') {
      const { name, version } = apiVersion;
      if (incoming.headers[name.toLowerCase()] === undefined) headers.push(name, version);
    } else if (apiVersion !== 'off') {
      const lines = accept === undefined ? [] : [accept];
      headers.push('Accept', ensureVersion(lines, apiVersion.mediaType, apiVersion.version));
    }
    if (readsAnswers) {
      restoreTags(headers, incoming);
      if (typeof encodings === 'string') {
        headers.push('Accept-Encoding', decodableOnly(encodings));
      }
    }
    if (viaId !== undefined) {
      const onward = viaOnward(via, incoming.httpVersion, viaId);
      if (onward.kind === 'loop') {
        throw new GatewayError('loop', 'the request has passed through this gateway before');
      }
      headers.push('Via', onward.value);
    }
    return headers;
  };
}

/**
 * Counts this hop in the Max-Forwards of an OPTIONS request, in place, as every hop must (RFC 9110
 * §7.6.2). Throws a {@link GatewayError} for one that must not be forwarded.
 */
function countForward(headers: string[], { headers: fields }: IncomingMessage): void {
  const left = fields['max-forwards'];
  if (typeof left !== 'string' || !/^\d{1,9}$/.test(left)) return;
  if (Number(left) === 0) {
    throw new GatewayError(
      'method-not-supported',
      'OPTIONS with Max-Forwards: 0 concerns the gateway itself, which has no options',
    );
  }
  removeField(headers, 'max-forwards');
  headers.push('Max-Forwards', String(Number(left) - 1));
}

/** Removes the lines of a field from a flat list of name, value, name, value …, in place. */
function removeField(headers: string[], name: string): void {
  for (let i = headers.length - 2; i >= 0; i -= 2) {
    if (headers[i]?.toLowerCase() === name) headers.splice(i, 2);
  }
}
