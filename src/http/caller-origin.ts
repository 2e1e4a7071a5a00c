/**
 * The gateway's origin as the caller used it, and what proxies before the gateway report about it.
 *
 * Anyone can send these fields, so they count only if the proxy that sent them is trusted.
 */

/** Addresses whose forwarded fields are believed: those that share the first `prefix` bits. */
export interface Network {
  readonly address: string;
  readonly prefix: number;
  readonly family: 'ipv4' | 'ipv6';
}

/** The fields in which a proxy reports the request that it received, as Node gives them. */
export interface ForwardedFields {
  readonly forwarded?: string | readonly string[] | undefined;
  readonly 'x-forwarded-host'?: string | readonly string[] | undefined;
  readonly 'x-forwarded-proto'?: string | readonly string[] | undefined;
  readonly 'x-forwarded-for'?: string | readonly string[] | undefined;
}

/** What a proxy reports about the request that it received. */
export interface Forwarded {
  /** `undefined` if it reports none that the gateway knows. */
  readonly scheme: 'http' | 'https' | undefined;
  /** A Host field as it was sent, which may be invalid; `undefined` if it reports none. */
  readonly host: string | undefined;
}

/** Whether a request has fields that {@link readForwarded} reads. */
export function hasForwarded(fields: ForwardedFields): boolean {
  return (
    fields['x-forwarded-proto'] !== undefined ||
    fields['x-forwarded-host'] !== undefined ||
    fields.forwarded !== undefined
  );
}

/**
 * Reads X-Forwarded-Proto, X-Forwarded-Host and Forwarded (RFC 7239). Each may list several hops;
 * the first one is the hop that the caller used.
 *
 * The older fields take precedence: most proxies write those, and pass a Forwarded field of their
 * client on.
 */
export function readForwarded(fields: ForwardedFields): Forwarded {
  const proto = firstMember(fields['x-forwarded-proto']);
  const host = firstMember(fields['x-forwarded-host']);
  const standard = fields.forwarded === undefined ? NOTHING : readStandard(fields.forwarded);
  return { scheme: knownScheme(proto) ?? standard.scheme, host: host ?? standard.host };
}

/** Whether a request has fields that {@link forwardedClients} reads. */
export function hasForwardedClients(fields: ForwardedFields): boolean {
  return fields['x-forwarded-for'] !== undefined || fields.forwarded !== undefined;
}

/**
 * The addresses of the clients of each hop, the last one nearest to the gateway, by X-Forwarded-For,
 * else by Forwarded. `undefined` stands for a name that is no address (RFC 7239 §6).
 */
export function forwardedClients(fields: ForwardedFields): (string | undefined)[] {
  const older = fields['x-forwarded-for'];
  if (older !== undefined) return joined(older).split(',').map(addressIn);
  const standard = joined(fields.forwarded ?? '');
  const clients: (string | undefined)[] = [];
  let client: string | undefined;
  for (PARAMETER.lastIndex = 0; PARAMETER.lastIndex < standard.length;) {
    const [whole, name = '', quoted, plain = '', end] = PARAMETER.exec(standard) ?? [];
    // What follows a malformed element cannot be distinguished from it.
    if (whole === undefined) return [];
    if (name.toLowerCase() === 'for') client = addressIn(quoted ?? plain);
    if (end === ';') continue;
    clients.push(client);
    client = undefined;
  }
  return clients;
}

function joined(field: string | readonly string[]): string {
  return typeof field === 'string' ? field : field.join(',');
}

const V4_NODE = /^(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})(?::\d{1,5})?$/;
const V6_NODE = /^(?:\[([\da-f:.]{2,45})\](?::\d{1,5})?|([\da-f:.]{2,45}))$/i;

/** The IP address in `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1` or `[2001:db8::1]:80`. */
function addressIn(node: string): string | undefined {
  const text = node.trim();
  const [, v4] = V4_NODE.exec(text) ?? [];
  if (v4 !== undefined) return v4.split('.').every((part) => Number(part) <= 255) ? v4 : undefined;
  const [, bracketed, plain] = V6_NODE.exec(text) ?? [];
  const v6 = bracketed ?? plain;
  // The parser of URLs knows which of them is an address.
  return v6 === undefined ? undefined : URL.parse(`http://[${v6}]`)?.hostname.slice(1, -1);
}

const NOTHING: Forwarded = { scheme: undefined, host: undefined };
/** One parameter of a Forwarded field, and what follows it. */
const PARAMETER =
  /[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s",;\\]*))[ \t]*([;,]|$)/y;

/** Reads the first element of a Forwarded field; a malformed one reports nothing. */
function readStandard(field: string | readonly string[]): Forwarded {
  const text = joined(field);
  let proto: string | undefined;
  let host: string | undefined;
  PARAMETER.lastIndex = 0;
  for (let end = ';'; end === ';';) {
    const [whole, name = '', quoted, plain = '', separator = ''] = PARAMETER.exec(text) ?? [];
    if (whole === undefined) return NOTHING;
    const value = quoted === undefined ? plain : quoted.replaceAll(/\\(.)/g, '$1');
    if (name.toLowerCase() === 'proto') proto = value;
    else if (name.toLowerCase() === 'host') host = value;
    end = separator;
  }
  return { scheme: knownScheme(proto), host };
}

function firstMember(field: string | readonly string[] | undefined): string | undefined {
  const text = typeof field === 'string' ? field : field?.[0];
  const member = text?.split(',', 1)[0]?.trim();
  return member === '' ? undefined : member;
}

function knownScheme(scheme: string | undefined): 'http' | 'https' | undefined {
  const lower = scheme?.toLowerCase();
  return lower === 'http' || lower === 'https' ? lower : undefined;
}

/**
 * A valid Host field: a host, perhaps with a port. No character in it ends the authority of a URL.
 */
const HOST = /^(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/;

/**
 * The gateway's origin as the caller used it, from the Host field, whether the connection has TLS,
 * and what a trusted proxy reports. `undefined` if the host is absent or invalid.
 */
export function callerOrigin(
  hostField: string | undefined,
  tls: boolean,
  { scheme = tls ? 'https' : 'http', host = hostField }: Forwarded = NOTHING,
): string | undefined {
  return host === undefined || !HOST.test(host) ? undefined : `${scheme}://${host}`;
}
