/**
 * The PROXY protocol, versions 1 and 2: what a proxy writes at the start of a connection about the
 * client that it connects. The specification is proxy-protocol.txt of HAProxy.
 */

/** What the first bytes of a connection are. */
export type ProxyHeader =
  /** More bytes are needed to decide. */
  | { readonly kind: 'incomplete' }
  /** The bytes begin with no such header. */
  | { readonly kind: 'none' }
  /** The bytes begin like a header, but are none. */
  | { readonly kind: 'bad'; readonly reason: string }
  | {
      readonly kind: 'header';
      /** How many bytes the header has; the client's own bytes follow. */
      readonly length: number;
      /** The client's address; `undefined` for a connection of the proxy itself. */
      readonly source: string | undefined;
    };

const V1 = 'PROXY ';
/** With the line end (proxy-protocol.txt §2.1). */
const MAX_V1_LENGTH = 107;
const V2 = '\r\n\r\n\0\r\nQUIT\n';
const V2_FIXED_LENGTH = 16;
/** Addresses and extensions are far shorter; the format would allow 64 KiB. */
const MAX_V2_LENGTH = 4096;
const V1_LINE = /^PROXY (?:UNKNOWN(?: [^\r\n]*)?|(TCP4|TCP6) (\S+) (\S+) (\d{1,5}) (\d{1,5}))\r\n/;
const IPV4 = /^\d{1,3}(?:\.\d{1,3}){3}$/;
const IPV6 = /^[\da-f:.]+$/i;

/** Reads the header at the start of `bytes`. */
export function readProxyHeader(bytes: Uint8Array): ProxyHeader {
  const text = String.fromCharCode(...bytes.subarray(0, MAX_V1_LENGTH));
  if (startsLike(text, V1)) return text.length < V1.length ? INCOMPLETE : readV1(text);
  if (startsLike(text, V2)) return bytes.length < V2_FIXED_LENGTH ? INCOMPLETE : readV2(bytes);
  return { kind: 'none' };
}

const INCOMPLETE: ProxyHeader = { kind: 'incomplete' };

/** Whether a text begins with `start`, as far as it goes. */
function startsLike(text: string, start: string): boolean {
  return text.startsWith(start) || start.startsWith(text);
}

function readV1(text: string): ProxyHeader {
  if (!text.includes('\r\n')) {
    return text.length < MAX_V1_LENGTH ? INCOMPLETE : bad('the line is longer than 107 characters');
  }
  const [line, family, source = ''] = V1_LINE.exec(text) ?? [];
  if (line === undefined) return bad('the line is not valid');
  if (family === undefined) return { kind: 'header', length: line.length, source: undefined };
  const isAddress = family === 'TCP4' ? IPV4.test(source) : IPV6.test(source);
  if (!isAddress) return bad(`the source is no address of ${family}`);
  return { kind: 'header', length: line.length, source };
}

/** Families of addresses (the high four bits), and the length of one address in bytes. */
const ADDRESS_LENGTHS: ReadonlyMap<number, number> = new Map([
  [1, 4],
  [2, 16],
]);

function readV2(bytes: Uint8Array): ProxyHeader {
  const [version = 0, family = 0, high = 0, low = 0] = bytes.subarray(12, V2_FIXED_LENGTH);
  const length = V2_FIXED_LENGTH + high * 256 + low;
  if (version >> 4 !== 2) return bad(`the version is ${version >> 4}`);
  const command = version & 0xf;
  if (command > 1) return bad(`the command is ${command}`);
  if (length > MAX_V2_LENGTH) return bad(`the header has ${length} bytes`);
  if (bytes.length < length) return INCOMPLETE;
  const addressLength = ADDRESS_LENGTHS.get(family >> 4);
  // A LOCAL connection is a health check of the proxy; a Unix socket has no address.
  if (command === 0 || addressLength === undefined) {
    return { kind: 'header', length, source: undefined };
  }
  const address = bytes.subarray(V2_FIXED_LENGTH, V2_FIXED_LENGTH + addressLength);
  if (length < V2_FIXED_LENGTH + 2 * addressLength + 4) return bad('the addresses are cut off');
  return {
    kind: 'header',
    length,
    source: addressLength === 4 ? address.join('.') : ipv6Text(address),
  };
}

/** An address in the form that Node writes. */
function ipv6Text(bytes: Uint8Array): string {
  const groups: string[] = [];
  for (let i = 0; i < bytes.length; i += 2) {
    groups.push((((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0)).toString(16));
  }
  const address = groups.join(':');
  return URL.parse(`http://[${address}]`)?.hostname.slice(1, -1) ?? address;
}

function bad(reason: string): ProxyHeader {
  return { kind: 'bad', reason };
}
