import { GatewayError } from './problem.ts';

/**
 * What Node's parser says of bytes that are no request, as a problem; `undefined` for errors of the
 * connection itself, which nobody is left to be told of.
 */
export function parserProblem(cause: Error & { code?: string }): GatewayError | undefined {
  const { code = '' } = cause;
  if (code === 'HPE_HEADER_OVERFLOW') {
    const detail = 'the request line and headers are longer than 64 KiB together';
    return new GatewayError('headers-too-large', detail, { cause });
  }
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    const detail = 'the headers of the request did not come in time';
    return new GatewayError('request-timeout', detail, { cause });
  }
  if (!code.startsWith('HPE_')) return undefined;
  return new GatewayError('bad-request', `not a valid HTTP/1.1 request (${code})`, { cause });
}
