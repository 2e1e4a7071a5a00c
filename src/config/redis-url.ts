import type { Kind } from './values.ts';

export interface RedisHost {
  readonly host: string;
  readonly port: number;
}

/** The address of Redis, its topology, and how to log in. */
export interface RedisAddress {
  readonly topology:
    | { readonly kind: 'single'; readonly at: RedisHost }
    | {
        readonly kind: 'sentinel';
        readonly sentinels: readonly RedisHost[];
        readonly master: string;
      }
    | { readonly kind: 'cluster'; readonly nodes: readonly RedisHost[] };
  readonly db: number;
  readonly tls: boolean;
  readonly username: string | undefined;
  readonly password: string | undefined;
}

const SHAPE =
  /^redis(s?)(?:\+(sentinel|cluster))?:\/\/(?:([^@/]*)@)?([^/?#]+)(?:\/([A-Za-z0-9._-]*))?(?:\/(\d{1,4}))?$/;
const REDIS_PORT = 6379;
const SENTINEL_PORT = 26_379;

export const redisUrl: Kind<RedisAddress> = {
  expected:
    'redis://host:port/db, redis+sentinel://host,host/master or redis+cluster://host,host, with rediss for TLS and user:password@ before the first host',
  parse(value) {
    const match = SHAPE.exec(value);
    if (match === null) return undefined;
    const [, secure = '', kind = 'single', userInfo, hostList = '', first = '', second] = match;
    const hosts = readHosts(hostList, kind === 'sentinel' ? SENTINEL_PORT : REDIS_PORT);
    const login = readLogin(userInfo);
    if (hosts === undefined || login === undefined) return undefined;
    const shared = { tls: secure === 's', ...login };
    const [at] = hosts;
    if (kind === 'cluster') {
      const hasMore = first !== '' || second !== undefined;
      return hasMore ? undefined : { ...shared, db: 0, topology: { kind, nodes: hosts } };
    }
    if (kind === 'sentinel') {
      if (first === '') return undefined;
      const topology = { kind, sentinels: hosts, master: first } as const;
      return { ...shared, db: Number(second ?? 0), topology };
    }
    const isOne = hosts.length === 1 && second === undefined && /^\d{0,4}$/.test(first);
    if (!isOne || at === undefined) return undefined;
    return { ...shared, db: Number(first), topology: { kind: 'single', at } };
  },
};

function readHosts(list: string, defaultPort: number): RedisHost[] | undefined {
  const hosts: RedisHost[] = [];
  for (const text of list.split(',')) {
    const [, bracketed, plain, digits] =
      /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?$/.exec(text) ?? [];
    const host = bracketed ?? plain;
    const port = Number(digits ?? defaultPort);
    if (host === undefined || port < 1 || port > 65_535) return undefined;
    hosts.push({ host, port });
  }
  return hosts;
}

function readLogin(
  userInfo: string | undefined,
): Pick<RedisAddress, 'username' | 'password'> | undefined {
  if (userInfo === undefined) return { username: undefined, password: undefined };
  const [, user = '', password] = /^([^:]*)(?::(.*))?$/s.exec(userInfo) ?? [];
  try {
    return {
      username: user === '' ? undefined : decodeURIComponent(user),
      password: password === undefined ? undefined : decodeURIComponent(password),
    };
  } catch {
    return undefined;
  }
}
