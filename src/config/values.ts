import { DEFAULT_SPREAD } from '../budget/reserve.ts';
import type { ConfiguredLimit } from '../budget/bucket.ts';
import { isIP } from 'node:net';
import { authorityOf } from '../http/authority.ts';
import type { Network } from '../http/caller-origin.ts';
import type { TokenField } from '../http/credential-fields.ts';
import { isNeverForApi } from '../http/header-filter.ts';
import { parseDuration } from '../util/duration.ts';

/** A TCP address. */
export interface HostAddress {
  readonly host: string;
  readonly port: number;
}

/** A Unix socket. */
export interface SocketPath {
  readonly path: string;
}

/** The address of a listener. */
export type ListenAddress = HostAddress | SocketPath;

export function isSocketPath(address: ListenAddress): address is SocketPath {
  return 'path' in address;
}

/** An address as the settings write it. */
export function textOfAddress(address: ListenAddress): string {
  if (isSocketPath(address)) return `unix:${address.path}`;
  return authorityOf(address.host, address.port);
}

/** Whether two listeners cannot both have their address. Port 0 selects a free port for each. */
export function sameAddress(one: ListenAddress, other: ListenAddress): boolean {
  const isFree = !isSocketPath(one) && one.port === 0;
  return !isFree && textOfAddress(one) === textOfAddress(other);
}

/** The URL of an API, in its parts. */
export interface UpstreamAddress {
  readonly origin: string;
  /** Empty, or a path that starts with a slash and does not end with one. */
  readonly basePath: string;
}

/**
 * How one kind of value is parsed. `expected` completes the sentence "expected …". `parse` returns
 * `undefined` for a text that is not of this kind.
 */
export interface Kind<T> {
  readonly expected: string;
  readonly parse: (text: string) => T | undefined;
  /**
   * Describes what is wrong with a text that `parse` rejected, for values of several parts. It shows
   * no secret. Absent: the whole value is shown, or its length if it is secret.
   */
  readonly problem?: (text: string) => string | undefined;
  /** The JSON Schema of the value in a file; absent: a text, or a number that is read as one. */
  readonly schema?: Readonly<Record<string, unknown>>;
}

export const text: Kind<string> = { expected: 'a text', parse: (value) => value };

/** A password of another program, which sets the rules for it. */
export const password: Kind<string> = {
  expected: 'a text without line ends',
  parse: (value) => (/^[^\r\n]+$/.test(value) ? value : undefined),
};

/** A login for Basic authentication (RFC 7617): the user has no colon. */
export const login: Kind<string> = {
  expected: 'user:password',
  parse: (value) => (/^[^:\r\n]+:[^\r\n]+$/.test(value) ? value : undefined),
};

export const callerName: Kind<string> = {
  expected: 'at most 64 of A-Z a-z 0-9 . _ / -',
  parse: (value) => (/^[A-Za-z0-9._/-]{1,64}$/.test(value) ? value : undefined),
};

export const version: Kind<string> = {
  expected: 'a version such as 3 or 2024-01-01',
  parse: (value) => (/^[A-Za-z0-9._-]{1,32}$/.test(value) ? value : undefined),
};

/** A token is sent in a header, so it is printable ASCII without spaces. */
export const token: Kind<string> = {
  expected: 'printable ASCII without spaces',
  parse: (value) => (/^[\x21-\x7e]+$/.test(value) ? value : undefined),
};

/** A key or a token that authenticates: too long to be guessed, and valid in a header. */
export const secret: Kind<string> = {
  expected: 'at least 16 characters of printable ASCII without spaces',
  parse: (value) => (/^[\x21-\x7e]{16,256}$/.test(value) ? value : undefined),
};

/** Without braces, because a cluster hashes only the part of a key that is in braces. */
export const keyPrefix: Kind<string> = {
  expected: 'at most 64 of A-Z a-z 0-9 . _ : / -',
  parse: (value) => (/^[A-Za-z0-9._:/-]{1,64}$/.test(value) ? value : undefined),
};

/** Host names as a Host field has them, without ports. */
export const hostNames: Kind<readonly string[]> = {
  expected: 'host names without ports, such as headgate.prod,gate.example.com',
  parse(value) {
    const names = value.split(',').map((name) => name.trim().toLowerCase());
    return names.every((name) => /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/.test(name)) ? names : undefined;
  },
};

/** More intercepted hosts are rejected as a mistake. Each has a certificate in memory. */
const MAX_INTERCEPTED = 100;

/** Names only: an authority of `headgate ca init` permits no address. */
export const interceptHosts: Kind<readonly string[]> = {
  expected: `at most ${MAX_INTERCEPTED} host names without ports, such as api.example.com,api.example.net; no addresses`,
  parse(value) {
    const names = hostNames.parse(value);
    return names !== undefined &&
      names.length <= MAX_INTERCEPTED &&
      !names.some((name) => isIP(name))
      ? [...new Set(names)]
      : undefined;
  },
};

/** Names of request headers that may be sent to the API. The values are in lower case. */
export const headerNames: Kind<readonly string[]> = {
  expected:
    'names of headers that may reach the API, such as X-HTTP-Method-Override,my_header; not those of one connection, of a proxy, or of Headgate',
  parse(value) {
    const names = value.split(',').map((name) => name.trim().toLowerCase());
    return names.every((name) => HEADER_NAME.test(name) && !isNeverForApi(name))
      ? names
      : undefined;
  },
};

/** A header for a token, and the scheme before the token. */
export const tokenHeader: Kind<TokenField> = {
  expected:
    'a header that may reach the API, and the scheme before the token, if any, such as Authorization Bearer or X-Api-Key',
  parse(value) {
    const [, name = '', scheme = ''] = /^(\S+)(?: ([A-Za-z0-9-]{1,32}))?$/.exec(value) ?? [];
    const lower = name.toLowerCase();
    return HEADER_NAME.test(lower) && !isNeverForApi(lower) ? { name, scheme } : undefined;
  },
};

const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9a-z-]{1,256}$/;

export const networks: Kind<readonly Network[]> = {
  expected: 'addresses and networks, such as 10.0.0.5,192.168.0.0/16,fd00::/8',
  parse(value) {
    const found = value.split(',').map((text) => parseNetwork(text.trim()));
    return found.every((network) => network !== undefined) ? found : undefined;
  },
};

function parseNetwork(text: string): Network | undefined {
  const [, address = '', digits] = /^([0-9A-Fa-f:.]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const version = isIP(address);
  if (version === 0) return undefined;
  const bits = version === 4 ? 32 : 128;
  const prefix = digits === undefined ? bits : Number(digits);
  return prefix > bits ? undefined : { address, prefix, family: version === 4 ? 'ipv4' : 'ipv6' };
}

export const url: Kind<UpstreamAddress> = {
  expected: 'an http:// or https:// URL without credentials, query or fragment',
  parse(value) {
    if (!/^https?:\/\//i.test(value) || !URL.canParse(value)) return undefined;
    const { username, password, search, hash, origin, pathname } = new URL(value);
    if (username + password + search + hash !== '') return undefined;
    return { origin, basePath: pathname.replace(/\/+$/, '') };
  },
};

export const address: Kind<HostAddress> = {
  expected: 'host:port, such as 127.0.0.1:8080 or [::]:8080',
  parse(value) {
    const [, bracketed, plain, digits = ''] =
      /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(value) ?? [];
    const host = bracketed ?? plain;
    const port = Number(digits);
    return host === undefined || port > 65_535 ? undefined : { host, port };
  },
};

/** The longest path of a Unix socket that all systems accept, in bytes. */
const MAX_SOCKET_PATH = 103;

export const listenAddress: Kind<ListenAddress> = {
  expected: `${address.expected}, or a Unix socket such as unix:/run/headgate.sock`,
  parse(value) {
    if (!value.startsWith('unix:')) return address.parse(value);
    const path = value.slice('unix:'.length);
    const fits = Buffer.byteLength(path) <= MAX_SOCKET_PATH;
    return /^\/[^\0]*[^\0/]$/.test(path) && fits ? { path } : undefined;
  },
};

/** An address to connect to. Without a port, the port of the API's URL applies. */
export const dialAddress: Kind<{ readonly host: string; readonly port: number | undefined }> = {
  expected: 'host:port or a host, such as 10.0.0.7:443, api.internal or [::1]:443',
  parse(value) {
    const withPort = address.parse(value);
    if (withPort !== undefined) return withPort.port === 0 ? undefined : withPort;
    const [, host] = /^\[?([0-9A-Fa-f:.]+|[A-Za-z0-9._-]+)\]?$/.exec(value) ?? [];
    return host === undefined ? undefined : { host, port: undefined };
  },
};

export const limit: Kind<ConfiguredLimit> = {
  expected: 'a count and a period, such as 200/1m',
  parse(value) {
    const [, count = '', period = ''] = /^(\d{1,9})\/(.+)$/.exec(value) ?? [];
    const periodMs = parseDuration(period);
    if (periodMs === undefined || periodMs <= 0 || Number(count) < 1) return undefined;
    return { limit: Number(count), periodMs };
  },
};

export function duration({ min = 0 }: { min?: number } = {}): Kind<number> {
  return {
    expected: `a duration such as 45s or 2m, at most 24d${min > 0 ? `, at least ${min}ms` : ''}`,
    parse(value) {
      const ms = parseDuration(value);
      return ms === undefined || ms < min || ms > MAX_DURATION_MS ? undefined : ms;
    },
  };
}

/** The longest delay of a timer (2^31 − 1 ms), in whole days. */
const MAX_DURATION_MS = 24 * 86_400_000;

export function integer(min: number, max: number): Kind<number> {
  return {
    expected: `a whole number from ${min} to ${max}`,
    schema: { type: 'integer', minimum: min, maximum: max },
    parse(value) {
      const number = /^\d{1,12}$/.test(value) ? Number(value) : Number.NaN;
      return number >= min && number <= max ? number : undefined;
    },
  };
}

const BYTES: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

export const bytes: Kind<number> = {
  expected: 'a size such as 512KiB or 1MiB, at most 1GiB',
  parse(value) {
    const [, count = '', unit = ''] = /^(\d{1,10})(B|KiB|MiB|GiB)$/.exec(value) ?? [];
    const size = Number(count) * (BYTES[unit] ?? Number.NaN);
    return value === '0' ? 0 : size <= 1024 ** 3 ? size : undefined;
  },
};

export function choice<const T extends string>(...choices: readonly T[]): Kind<T> {
  return {
    expected: `one of ${choices.join(', ')}`,
    // YAML 1.2 reads `on` and `off` as texts; tools for YAML 1.1 read them as booleans.
    schema: { enum: choices },
    parse: (value) => choices.find((known) => known === value),
  };
}

/** A part of a limit, up to a half: `auto` for the default, `off` for none. */
export const spread: Kind<number> = {
  expected: 'auto, off, or a part of the limit from 1% to 50%',
  parse(value) {
    if (value === 'auto') return DEFAULT_SPREAD;
    if (value === 'off') return 0;
    const percent = Number(/^(\d{1,2})%$/.exec(value)?.[1]);
    return percent >= 1 && percent <= 50 ? percent / 100 : undefined;
  },
};

/** `kind`, or the word `off`. */
export function orOff<T>(kind: Kind<T>): Kind<T | 'off'> {
  return {
    expected: `${kind.expected}, or off`,
    parse: (value) => (value === 'off' ? 'off' : kind.parse(value)),
  };
}

export const yesOrNo: Kind<boolean> = {
  expected: 'true or false',
  schema: { type: 'boolean' },
  parse: (value) => (value === 'true' ? true : value === 'false' ? false : undefined),
};

export const errorStatuses: Kind<readonly number[]> = {
  expected: 'statuses from 400 to 599, such as 403,503',
  parse(value) {
    const statuses = value.split(',').map((status) => status.trim());
    return statuses.every((status) => /^[45]\d\d$/.test(status)) ? statuses.map(Number) : undefined;
  },
};

export const shedStatus: Kind<503 | 429> = {
  expected: '503 or 429',
  schema: { enum: [503, 429] },
  parse: (value) => (value === '503' ? 503 : value === '429' ? 429 : undefined),
};
