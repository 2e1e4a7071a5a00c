import type { Account } from '../http/limit-rule.ts';
import { isLoopback } from '../http/origin-check.ts';
import { messageOf } from '../util/message-of.ts';
import type { CallerKey } from './caller-keys.ts';
import {
  isSocketPath,
  sameAddress,
  textOfAddress,
  type HostAddress,
  type Kind,
  type ListenAddress,
  type UpstreamAddress,
} from './values.ts';

/** Problems of settings that are each valid alone, but not together. One line per problem. */

/** What the checks know of an API. */
interface ApiSlice {
  readonly upstream: UpstreamAddress;
  readonly token: { readonly kind: 'none' | 'value' | 'file' | 'command' | 'basic' };
}

interface NamedApiSlice extends ApiSlice {
  readonly name: string;
}

export interface AddressSlice extends ApiSlice {
  readonly listen: ListenAddress;
  readonly adminListen: ListenAddress | 'off';
  readonly apis: readonly NamedApiSlice[];
  readonly intercept: { readonly listen: HostAddress } | undefined;
}

/** Finds two listeners with the same address, and an API address that is Headgate's own listener. */
export function addressProblems(slice: AddressSlice): string[] {
  const { listen, adminListen, intercept, upstream, apis } = slice;
  const problems: string[] = [];
  const others = [
    { variable: 'HEADGATE_LISTEN', address: listen },
    { variable: 'HEADGATE_ADMIN_LISTEN', address: adminListen },
  ];
  for (const { variable, address } of intercept === undefined ? [] : others) {
    if (address === 'off' || !sameAddress(intercept?.listen ?? address, address)) continue;
    problems.push(
      `HEADGATE_INTERCEPT_LISTEN: expected another address than ${variable}, got the same, ${textOfAddress(address)}`,
    );
  }
  if (adminListen !== 'off' && sameAddress(listen, adminListen)) {
    problems.push(
      `HEADGATE_ADMIN_LISTEN: expected another address than HEADGATE_LISTEN, got the same, ${textOfAddress(listen)}`,
    );
  }
  const ownOrigin = `http://${textOfAddress(listen)}`;
  const upstreams = [
    { place: 'HEADGATE_UPSTREAM_URL', origin: upstream.origin },
    ...apis.map((api) => ({ place: `apis.${api.name}.upstreamUrl`, origin: api.upstream.origin })),
  ];
  for (const { place, origin } of upstreams) {
    if (origin !== ownOrigin) continue;
    problems.push(
      `${place}: expected the address of the API, got that of HEADGATE_LISTEN, ${origin}`,
    );
  }
  return problems;
}

/**
 * Finds a token that is set twice, by itself and by its file, and a token file that is unusable.
 * `places` name the two settings in problems. Never shows the token.
 */
export function tokenProblems(
  places: { readonly own: string; readonly file: string },
  kind: Kind<string>,
  value: string | undefined,
  path: string | undefined,
  readFile: (path: string) => string,
): string[] {
  if (path === undefined) return [];
  if (value !== undefined) return [`${places.file}: expected it without ${places.own}, got both`];
  try {
    const content = readFile(path).trim();
    if (kind.parse(content) !== undefined) return [];
    return [
      `${places.file}: expected a file with a token of ${kind.expected}, got ${content.length} characters that are not`,
    ];
  } catch (error) {
    const reason = messageOf(error);
    return [`${places.file}: expected a readable file, got: ${reason}`];
  }
}

export interface SafetySlice extends Pick<AddressSlice, 'token' | 'upstream' | 'listen' | 'apis'> {
  readonly callerKeys: readonly CallerKey[];
  readonly open: boolean;
  readonly intercept:
    | { readonly listen: HostAddress; readonly others: 'refuse' | 'tunnel' }
    | undefined;
}

/**
 * Finds settings that would let unknown callers spend the budget of a token, or reach other hosts
 * through the gateway.
 */
export function safetyProblems(slice: SafetySlice): string[] {
  const { token, listen, apis, callerKeys, open, intercept } = slice;
  if (open || callerKeys.length > 0) return [];
  const problems: string[] = [];
  const isProxyLocal = intercept === undefined || isLocal(intercept.listen);
  if (intercept?.others === 'tunnel' && !isProxyLocal) {
    problems.push(
      `HEADGATE_INTERCEPT_OTHERS: expected HEADGATE_CALLER_KEYS or HEADGATE_OPEN=true as well, because other machines can connect to HEADGATE_INTERCEPT_LISTEN ${textOfAddress(intercept.listen)} and would reach other hosts through it; got neither`,
    );
  }
  if (isLocal(listen) && isProxyLocal) return problems;
  const [variable, address] = isLocal(listen)
    ? ['HEADGATE_INTERCEPT_LISTEN', intercept?.listen ?? listen]
    : ['HEADGATE_LISTEN', listen];
  const tokens = [
    {
      token,
      places: {
        value: 'HEADGATE_TOKEN',
        file: 'HEADGATE_TOKEN_FILE',
        command: 'HEADGATE_TOKEN_COMMAND',
        basic: 'HEADGATE_TOKEN_BASIC',
      },
    },
    ...apis.map((api) => ({
      token: api.token,
      places: {
        value: `apis.${api.name}.token`,
        file: `apis.${api.name}.tokenFile`,
        command: `apis.${api.name}.tokenCommand`,
        basic: `apis.${api.name}.tokenBasic`,
      },
    })),
  ];
  for (const {
    token: { kind },
    places,
  } of tokens) {
    if (kind === 'none') continue;
    problems.push(
      `${places[kind]}: expected HEADGATE_CALLER_KEYS or HEADGATE_OPEN=true as well, because other machines can connect to ${variable} ${textOfAddress(address)} and would spend the token's budget; got neither`,
    );
  }
  return problems;
}

/** Whether only this machine can reach a listener. */
export function isLocal(listen: ListenAddress): boolean {
  return isSocketPath(listen) || isLoopback(listen.host);
}

export interface CredentialsSlice {
  readonly credentials: readonly { readonly hash: string; readonly name: string }[];
  readonly accounts: readonly Account[];
  readonly apis: readonly { readonly name: string; readonly accounts: readonly Account[] }[];
  readonly secret: string | undefined;
  readonly redis: object | undefined;
}

/** Finds hashes of credentials that would be of none, and names of which two would be of one. */
export function credentialProblems(config: CredentialsSlice): string[] {
  const { credentials, accounts, apis, secret, redis } = config;
  if (secret === undefined && redis === undefined) {
    const lists = [
      { place: 'credentials', hashes: credentials.map(({ hash }) => hash) },
      { place: 'accounts', hashes: hashesOf(accounts) },
      ...apis
        .filter((api) => api.accounts !== accounts)
        .map((api) => ({ place: `apis.${api.name}.accounts`, hashes: hashesOf(api.accounts) })),
    ];
    return lists
      .filter(({ hashes }) => hashes.length > 0)
      .map(
        ({ place }) =>
          `${place}: expected HEADGATE_SECRET or HEADGATE_REDIS_URL as well, because the hashes change at each start without them; got neither`,
      );
  }
  const seen = new Set<string>();
  return credentials.flatMap(({ hash }) => {
    if (seen.has(hash)) return [`credentials: expected each hash once, got ${hash} twice`];
    seen.add(hash);
    return [];
  });
}

/** The gateway's own token has no hash that could change. */
function hashesOf(accounts: readonly Account[]): string[] {
  return accounts.flatMap(({ credentials }) => credentials).filter((one) => one !== 'own');
}
