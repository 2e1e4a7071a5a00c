import { isLoopback } from '../http/origin-check.ts';
import type { CallerKey } from './caller-keys.ts';
import type { Setting } from './settings.ts';
import type { ListenAddress, UpstreamAddress } from './values.ts';

/** Problems of settings that are each valid alone, but not together. One line per problem. */

/** Finds two listeners with the same address, and an API address that is Headgate's own listener. */
export function addressProblems(
  listen: ListenAddress,
  adminListen: ListenAddress | 'off',
  upstream: UpstreamAddress | undefined,
): string[] {
  const problems: string[] = [];
  if (
    adminListen !== 'off' &&
    listen.port !== 0 &&
    listen.port === adminListen.port &&
    listen.host === adminListen.host
  ) {
    problems.push(
      `HEADGATE_ADMIN_LISTEN: expected another address than HEADGATE_LISTEN, got the same, ${listen.host}:${listen.port}`,
    );
  }
  const host = listen.host.includes(':') ? `[${listen.host}]` : listen.host;
  if (upstream?.origin === `http://${host}:${listen.port}`) {
    problems.push(
      `HEADGATE_UPSTREAM_URL: expected the address of the API, got that of HEADGATE_LISTEN, ${upstream.origin}`,
    );
  }
  return problems;
}

/**
 * Finds a token that is set twice, by `variable` and by its file, and a token file that is unusable.
 * Never shows the token.
 */
export function tokenProblems(
  { variable, kind }: Pick<Setting<string>, 'variable' | 'kind'>,
  value: string | undefined,
  path: string | undefined,
  readFile: (path: string) => string,
): string[] {
  if (path === undefined) return [];
  if (value !== undefined) return [`${variable}_FILE: expected it without ${variable}, got both`];
  try {
    const content = readFile(path).trim();
    if (kind.parse(content) !== undefined) return [];
    return [
      `${variable}_FILE: expected a file with a token of ${kind.expected}, got ${content.length} characters that are not`,
    ];
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return [`${variable}_FILE: expected a readable file, got: ${reason}`];
  }
}

export interface SafetySlice {
  readonly token: { readonly kind: 'none' | 'value' | 'file' };
  readonly listen: ListenAddress;
  readonly callerKeys: readonly CallerKey[];
  readonly open: boolean;
}

/** Finds settings that would let unknown callers spend the budget of the token. */
export function safetyProblems({ token, listen, callerKeys, open }: SafetySlice): string[] {
  if (token.kind === 'none' || open || callerKeys.length > 0 || isLoopback(listen.host)) return [];
  const variable = token.kind === 'file' ? 'HEADGATE_TOKEN_FILE' : 'HEADGATE_TOKEN';
  return [
    `${variable}: expected HEADGATE_CALLER_KEYS or HEADGATE_OPEN=true as well, because other machines can connect to HEADGATE_LISTEN ${listen.host}:${listen.port} and would spend the token's budget; got neither`,
  ];
}

export interface CredentialsSlice {
  readonly credentials: readonly { readonly hash: string; readonly name: string }[];
  readonly secret: string | undefined;
  readonly redis: object | undefined;
}

/** Finds names of credentials that would name none, or two at once. */
export function credentialProblems({ credentials, secret, redis }: CredentialsSlice): string[] {
  if (credentials.length === 0) return [];
  if (secret === undefined && redis === undefined) {
    return [
      'credentials: expected HEADGATE_SECRET or HEADGATE_REDIS_URL as well, because the hashes change at each start without them; got neither',
    ];
  }
  const seen = new Set<string>();
  return credentials.flatMap(({ hash }) => {
    if (seen.has(hash)) return [`credentials: expected each hash once, got ${hash} twice`];
    seen.add(hash);
    return [];
  });
}
