import type { ConfiguredLimit } from '../budget/bucket.ts';
import { parseDuration } from '../util/duration.ts';

/** Where to listen. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** The address of an API, taken apart. */
export interface UpstreamAddress {
  readonly origin: string;
  /** Empty, or starting with a slash and not ending in one. */
  readonly basePath: string;
}

/**
 * How one kind of value is read. `expected` completes the sentence "expected …", and `parse` says
 * `undefined` for everything that is not it.
 */
export interface Kind<T> {
  readonly expected: string;
  readonly parse: (text: string) => T | undefined;
}

export const text: Kind<string> = { expected: 'a text', parse: (value) => value };

export const callerName: Kind<string> = {
  expected: 'at most 64 of A-Z a-z 0-9 . _ / -',
  parse: (value) => (/^[A-Za-z0-9._/-]{1,64}$/.test(value) ? value : undefined),
};

export const version: Kind<string> = {
  expected: 'a version such as 3 or 2024-01-01',
  parse: (value) => (/^[A-Za-z0-9._-]{1,32}$/.test(value) ? value : undefined),
};

/** A token goes into a header: printable ASCII and no spaces. */
export const token: Kind<string> = {
  expected: 'printable ASCII without spaces',
  parse: (value) => (/^[\x21-\x7e]+$/.test(value) ? value : undefined),
};

/** What proves who somebody is: too long to be guessed, and fit for a header. */
export const secret: Kind<string> = {
  expected: 'at least 16 characters of printable ASCII without spaces',
  parse: (value) => (/^[\x21-\x7e]{16,256}$/.test(value) ? value : undefined),
};

/** No braces: those mark what a cluster places a key by. */
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

export const url: Kind<UpstreamAddress> = {
  expected: 'an http:// or https:// URL without credentials, query or fragment',
  parse(value) {
    if (!/^https?:\/\//i.test(value) || !URL.canParse(value)) return undefined;
    const { username, password, search, hash, origin, pathname } = new URL(value);
    if (username + password + search + hash !== '') return undefined;
    return { origin, basePath: pathname.replace(/\/+$/, '') };
  },
};

export const address: Kind<ListenAddress> = {
  expected: 'host:port, such as 127.0.0.1:8080 or [::]:8080',
  parse(value) {
    const [, bracketed, plain, digits = ''] =
      /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(value) ?? [];
    const host = bracketed ?? plain;
    const port = Number(digits);
    return host === undefined || port > 65_535 ? undefined : { host, port };
  },
};

/** Where to connect; without a port, the one that a URL names. */
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

export function duration({ least = 0 }: { least?: number } = {}): Kind<number> {
  return {
    expected: `a duration such as 45s or 2m, at most 24d${least > 0 ? `, at least ${least}ms` : ''}`,
    parse(value) {
      const ms = parseDuration(value);
      return ms === undefined || ms < least || ms > MOST_DURATION_MS ? undefined : ms;
    },
  };
}

/** Whole days that a timer can hold. */
const MOST_DURATION_MS = 24 * 86_400_000;

export function integer(least: number, most: number): Kind<number> {
  return {
    expected: `a whole number from ${least} to ${most}`,
    parse(value) {
      const number = /^\d{1,12}$/.test(value) ? Number(value) : Number.NaN;
      return number >= least && number <= most ? number : undefined;
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
    parse: (value) => choices.find((known) => known === value),
  };
}

/** `kind`, or the word that turns the thing off. */
export function orOff<T>(kind: Kind<T>): Kind<T | 'off'> {
  return {
    expected: `${kind.expected}, or off`,
    parse: (value) => (value === 'off' ? 'off' : kind.parse(value)),
  };
}

export const yesOrNo: Kind<boolean> = {
  expected: 'true or false',
  parse: (value) => (value === 'true' ? true : value === 'false' ? false : undefined),
};

export const shedStatus: Kind<503 | 429> = {
  expected: '503 or 429',
  parse: (value) => (value === '503' ? 503 : value === '429' ? 429 : undefined),
};
