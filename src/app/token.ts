import type { Config, ServedApi } from '../config/config.ts';
import type { RedisConfig } from '../config/redis.ts';
import { SettingProblem } from '../config/setting-problem.ts';
import { fileKey, SETTINGS } from '../config/settings.ts';
import { ensureVersion } from '../http/accept.ts';
import type { Log } from '../telemetry/log.ts';
import { makeFleetToken, makeTokenFetch, type TokenVault } from '../upstream/fetched-token.ts';
import { makeRenewedToken, type RenewedTokenOptions } from '../upstream/renewed-token.ts';
import { makeTokenCommand } from '../upstream/token-command.ts';
import { makeTokenSource, type TokenSource } from '../upstream/token.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { Clock } from '../util/clock.ts';
import { messageOf } from '../util/message-of.ts';

export interface TokenParts {
  readonly clock: Clock;
  readonly log: Log;
  /** The environment for a command; absent: that of this process. */
  readonly env: Readonly<Record<string, string | undefined>> | undefined;
  readonly upstream: Pick<Upstream, 'take' | 'send'>;
  /** Where the replicas share a token that the API issues. */
  readonly redis: RedisConfig | undefined;
}

/**
 * Makes the token of an API. Throws a {@link SettingProblem} if a command does not print it, or the
 * API does not issue it.
 */
export async function makeToken(served: ServedApi, parts: TokenParts): Promise<TokenSource> {
  const { token } = served.config;
  const format = SETTINGS.token.kind;
  const { clock, log, env } = parts;
  switch (token.kind) {
    case 'command': {
      const obtain = makeTokenCommand({ ...token, env, format, clock });
      return renewed(served, SETTINGS.tokenCommand.variable, { obtain, clock, log });
    }
    case 'basic': {
      const obtain = await makeIssued(served.config, token, parts);
      const source = await renewed(served, SETTINGS.tokenBasic.variable, { obtain, clock, log });
      // A reload is no reason for another token.
      return { ...source, renew: () => undefined };
    }
    case 'none':
    case 'value':
    case 'file':
      return makeTokenSource(token, format, log);
    default:
      return token satisfies never;
  }
}

/** Makes the function that obtains a token which the API issues. */
async function makeIssued(
  { upstream: { basePath }, apiVersion }: Config,
  { login, path }: { readonly login: string; readonly path: string },
  { clock, log, upstream, redis }: TokenParts,
): Promise<RenewedTokenOptions['obtain']> {
  const accept =
    apiVersion !== 'off' && apiVersion.kind === 'accept'
      ? ensureVersion([], apiVersion.mediaType, apiVersion.version)
      : 'application/json';
  const fetch = makeTokenFetch({
    upstream,
    path: basePath + path,
    accept,
    login,
    format: SETTINGS.token.kind,
  });
  let vault: TokenVault | undefined;
  if (redis !== undefined) {
    // Imported only where it is used: loading the Redis client takes a tenth of the start-up time.
    const { makeTokenVault } = await import('../ledger/shared/redis/token-vault.ts');
    vault = makeTokenVault({ ...redis, secret: login, clock, log });
  }
  return makeFleetToken({ fetch, vault, clock, log });
}

async function renewed(
  { name }: ServedApi,
  variable: string,
  options: RenewedTokenOptions,
): Promise<TokenSource> {
  try {
    return await makeRenewedToken(options);
  } catch (cause) {
    const place = name === undefined ? variable : `apis.${name}.${fileKey(variable)}`;
    const problem = messageOf(cause);
    throw new SettingProblem(`${place}: ${problem}`, { cause });
  }
}
