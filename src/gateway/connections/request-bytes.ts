import type { IncomingMessage } from 'node:http';
import { bodyLength } from '../../upstream/body.ts';

/** What a request takes besides its headers: Node's and our own objects. */
const REQUEST_BYTES = 8192;
/** What a header takes besides its characters: two strings, and their places in three lists. */
const FIELD_BYTES = 160;

/**
 * Estimates the memory of a request without its body, in bytes: never much too small, whatever the
 * caller sends. Many short headers take far more memory than they have characters.
 */
export function requestBytes({
  rawHeaders,
  url = '',
}: Pick<IncomingMessage, 'rawHeaders' | 'url'>): number {
  let bytes = REQUEST_BYTES + url.length + (rawHeaders.length / 2) * FIELD_BYTES;
  for (const text of rawHeaders) bytes += text.length;
  return bytes;
}

/** The part of a body that arrives although it is not read, in bytes. */
export function unreadBodyBytes(incoming: IncomingMessage): number {
  const length = bodyLength(incoming);
  const { readableHighWaterMark } = incoming;
  return length === 'unknown' ? readableHighWaterMark : Math.min(length, readableHighWaterMark);
}
