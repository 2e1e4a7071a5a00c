import type { IncomingMessage } from 'node:http';

/**
 * Whether a request is the preflight of a page's request (Fetch §4.8): the browser asks which
 * requests the API allows. APIs do not meter preflights, and a page cannot start before the answer.
 */
export function isPreflight({ method, headers }: IncomingMessage): boolean {
  return (
    method === 'OPTIONS' &&
    headers.origin !== undefined &&
    headers['access-control-request-method'] !== undefined
  );
}

/**
 * The fields by which a page of another origin may read a refusal of the gateway. Without them its
 * browser shows a CORS error in place of the status and `Retry-After`.
 */
export function corsFields({ headers: { origin } }: IncomingMessage): string[] {
  if (origin === undefined) return [];
  return [
    'Access-Control-Allow-Origin',
    origin,
    'Access-Control-Allow-Credentials',
    'true',
    'Access-Control-Expose-Headers',
    'Headgate-Error, Headgate-Request-Id, Retry-After',
    'Vary',
    'Origin',
  ];
}
