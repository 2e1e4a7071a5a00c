/** Why no connection to the API was made, for a caller and for an operator. */
export interface ConnectFailure {
  /** What failed, with the error's code. */
  readonly detail: string;
  /** What an operator can change; absent where no setting helps. */
  readonly hint?: string;
  /** The type of error in Proxy-Status (RFC 9209 §2.3). */
  readonly proxyError: ConnectProxyError;
}

export type ConnectProxyError =
  | 'dns_error'
  | 'connection_refused'
  | 'connection_timeout'
  | 'destination_ip_unroutable'
  | 'tls_certificate_error'
  | 'tls_protocol_error'
  | 'destination_unavailable';

/** The proxy on the way to the API answered for itself, so the API has no request. */
export class ProxyRefusalError extends Error {
  override readonly name = 'ProxyRefusalError';
  readonly status: number;

  /** `what`: what it refused. */
  constructor(status: number, what: string) {
    super(`the proxy answered ${status} to ${what}`);
    this.status = status;
  }
}

/** The certificate's issuer is unknown (OpenSSL's X509_V_ERR_* codes, as Node names them). */
const UNTRUSTED = new Set([
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_UNTRUSTED',
]);

const DETAILS: readonly (readonly [
  codes: RegExp,
  proxyError: ConnectProxyError,
  detail: string,
])[] = [
  [/^(?:ENOTFOUND|EAI_\w+|ENODATA)$/, 'dns_error', "the API's name does not resolve"],
  [/^ECONNREFUSED$/, 'connection_refused', "the API's host refused the connection"],
  [
    /^(?:ETIMEDOUT|UND_ERR_CONNECT_TIMEOUT)$/,
    'connection_timeout',
    'no connection to the API was made in time',
  ],
  [
    /^(?:EHOSTUNREACH|ENETUNREACH)$/,
    'destination_ip_unroutable',
    "there is no route to the API's host",
  ],
  [
    /^CERT_(?:HAS_EXPIRED|NOT_YET_VALID)$/,
    'tls_certificate_error',
    "the API's certificate is not valid now",
  ],
  [
    /^ERR_TLS_CERT_ALTNAME_INVALID$/,
    'tls_certificate_error',
    "the API's certificate is for another name",
  ],
  [
    /^(?:ERR_SSL_\w+|ERR_TLS_\w+|EPROTO|CERT_\w+)$/,
    'tls_protocol_error',
    'TLS with the API failed',
  ],
  [/^E\w+$/, 'destination_unavailable', 'the connection to the API failed'],
];

const PROXY_HINT =
  'expected the name and the password that the proxy accepts, in the URL of HTTPS_PROXY or HTTP_PROXY';

/** Describes the error of a connection that could not be opened. */
export function describeConnectFailure(error: Error): ConnectFailure {
  if (error instanceof ProxyRefusalError) {
    return {
      detail: `the proxy answered ${error.status}`,
      proxyError: 'destination_unavailable',
      ...(error.status === 407 ? { hint: PROXY_HINT } : {}),
    };
  }
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (UNTRUSTED.has(code)) {
    return {
      detail: `the API's certificate is not trusted (${code})`,
      proxyError: 'tls_certificate_error',
      hint: 'expected a trusted issuer; name a file with its certificate in HEADGATE_UPSTREAM_CA',
    };
  }
  const [, proxyError, detail] = DETAILS.find(([codes]) => codes.test(code)) ?? [];
  if (proxyError !== undefined) return { detail: `${detail} (${code})`, proxyError };
  const unknown = 'no connection to the API could be made';
  return { detail: unknown, proxyError: 'destination_unavailable' };
}
