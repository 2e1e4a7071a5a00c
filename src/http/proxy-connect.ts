/** What a client sends to a proxy: the target of a CONNECT, and the key in Proxy-Authorization. */

/** The target of a CONNECT, or why it is refused. */
export type ConnectTarget =
  | { readonly kind: 'ok'; readonly host: string; readonly port: number }
  | { readonly kind: 'bad'; readonly reason: string };

/** The fields of a CONNECT that decide how it is read, as Node gives them. */
export interface ConnectFields {
  readonly host?: string | undefined;
  readonly 'content-length'?: string | undefined;
  readonly 'transfer-encoding'?: string | undefined;
}

/** The answer to a CONNECT whose connection is ready: a tunnel, or TLS that ends here. */
export const ESTABLISHED = 'HTTP/1.1 200 Connection established\r\n\r\n';

const AUTHORITY = /^([a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])\.?:(\d{1,5})$/i;
const MAX_PORT = 65_535;
/**
 * A name whose last part is a number is an IPv4 address. There are several spellings: 2130706433,
 * 0x7f.1 and 127.1 are all 127.0.0.1 (WHATWG URL, "ends in a number").
 */
const ENDS_IN_NUMBER = /(?:^|\.)(?:\d+|0x[0-9a-f]*)$/i;
const IPV4_BYTE = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)';
const IPV4 = new RegExp(`^${IPV4_BYTE}(?:\\.${IPV4_BYTE}){3}$`);

/**
 * Reads the target of a CONNECT: a host and a port, and nothing else (RFC 9112 §3.2.3). A name is
 * returned in lower case, an IPv6 address in its shortest form and without brackets.
 *
 * A body is refused: it has no meaning (RFC 9110 §9.3.6), so the bytes behind the head could be taken
 * for it or for the tunnel. A Host field for another host is refused as well (RFC 9112 §3.2).
 */
export function readConnect(target: string, fields: ConnectFields): ConnectTarget {
  const [, name = '', digits = ''] = AUTHORITY.exec(target) ?? [];
  const port = Number(digits);
  if (name === '' || port === 0 || port > MAX_PORT) {
    return bad('expected CONNECT with a host and a port, such as api.example.com:443');
  }
  if (ENDS_IN_NUMBER.test(name) && !IPV4.test(name)) {
    return bad('expected an IPv4 address as four decimal numbers, such as 192.0.2.1');
  }
  if (name.startsWith('[') && !URL.canParse(`https://${name}`)) {
    return bad('expected an IPv6 address in brackets, such as [2001:db8::1]');
  }
  const { host, 'content-length': length = '0', 'transfer-encoding': coding } = fields;
  if (coding !== undefined || length !== '0') return bad('expected a CONNECT without a body');
  if (host !== undefined && !isHost(host, name.toLowerCase())) {
    return bad('expected a Host field for the host of the CONNECT');
  }
  return { kind: 'ok', host: plainHost(name), port };
}

/** Whether a Host field (`host` or `host:port`) names `host`, which is in lower case. */
export function isHost(field: string, host: string): boolean {
  const name = field.toLowerCase().replace(/:\d*$/, '');
  return name === host || name === `${host}.`;
}

function plainHost(name: string): string {
  return name.startsWith('[')
    ? new URL(`https://${name}`).hostname.slice(1, -1)
    : name.toLowerCase();
}

const BASIC = /^basic +([a-z0-9+/]+=*)$/i;

/**
 * The key in a Proxy-Authorization field of the scheme Basic (RFC 7617): the password, or the name if
 * the password is empty, as in `http://billing:KEY@proxy` and `http://KEY@proxy`.
 */
export function readProxyKey(field: string | undefined): string | undefined {
  const [, encoded] = BASIC.exec(field ?? '') ?? [];
  if (encoded === undefined) return undefined;
  const pair = atob(encoded);
  const colon = pair.indexOf(':');
  const [name, password] =
    colon === -1 ? [pair, ''] : [pair.slice(0, colon), pair.slice(colon + 1)];
  const key = password === '' ? name : password;
  return key === '' ? undefined : key;
}

function bad(reason: string): ConnectTarget {
  return { kind: 'bad', reason };
}
