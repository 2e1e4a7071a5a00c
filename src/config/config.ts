import type { Network } from '../http/caller-origin.ts';
import { nonePreset, type Preset } from '../presets/preset.ts';
import { PRESETS } from '../presets/presets.ts';
import type { LogFormat, LogLevel } from '../util/log-settings.ts';
import {
  readApiConfig,
  readToken,
  type ApiConfig,
  type NamedApiConfig,
  type ReadContext,
  type TokenConfig,
} from './api-config.ts';
import { EVERY_REQUEST, type ApiMatch } from './api-settings.ts';
import { readCallerKeysFile, type CallerKey } from './caller-keys.ts';
import { budgetProblems, sumProblems } from './caller-budgets.ts';
import { addressProblems, credentialProblems, safetyProblems } from './checks.ts';
import { effectiveLists, effectiveMatch, sayPerClass, type EffectiveSetting } from './effective.ts';
import { openConfigFile, type FileEntries } from './file.ts';
import { readIntercept, type InterceptConfig } from './intercept.ts';
import { tlsPaths } from './pem-files.ts';
import { redisConfig, readSecret, type RedisConfig } from './redis.ts';
import {
  makeSettingReader,
  presentValue,
  type SettingReader,
  type SettingScope,
} from './setting-reader.ts';
import { SETTINGS, type Setting } from './settings.ts';
import { unknownVariables } from './unknown-variables.ts';
import type { ListenAddress } from './values.ts';

/**
 * All settings, parsed and frozen. A step of the pipeline receives the slice that it uses. The
 * settings of an API are those of the single one, or the defaults of several.
 */
export interface Config extends ApiConfig {
  /** Several APIs; empty: there is one, which has no name. */
  readonly apis: readonly NamedApiConfig[];
  /** Whether requests wait and are shed, or are only observed. */
  readonly mode: 'enforce' | 'observe';
  readonly listen: ListenAddress;
  readonly keepAliveTimeoutMs: number;
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
  readonly adminListen: ListenAddress | 'off';
  readonly adminTls: { readonly cert: string; readonly key: string } | undefined;
  /** The proxy for clients with a fixed address; `undefined`: there is none. */
  readonly intercept: InterceptConfig | undefined;
  /** The most connections of callers, in all and from one address; `undefined`: by the host. */
  readonly maxConnections: number | undefined;
  readonly maxConnectionsPerAddress: number | undefined;
  /** The most calls that have not ended. */
  readonly maxCalls: number;
  readonly body: {
    readonly keepBytes: number;
    readonly mostBytes: number;
    readonly memoryBytes: number;
    readonly idleTimeoutMs: number;
    readonly leastRate: number;
  };
  readonly caller: string | undefined;
  /** The callers that are served; empty: every caller. */
  readonly callerKeys: readonly CallerKey[];
  /** Whether callers without a key, also on other machines, may spend the token. */
  readonly open: boolean;
  /** Further host names of the gateway, as a Host field has them. */
  readonly hosts: readonly string[];
  /** Proxies whose forwarded fields are believed. */
  readonly trustedProxies: readonly Network[];
  readonly adminToken: TokenConfig;
  /** Where replicas share the ledger; `undefined`: the ledger is kept in this process. */
  readonly redis: RedisConfig | undefined;
  /** Key of the bucket names. */
  readonly secret: string | undefined;
  readonly drainDelayMs: number;
  readonly drainTimeoutMs: number;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
}

/** One API that the gateway serves, with all settings that apply to it. */
export interface ServedApi {
  /** `undefined` for a single API, which needs no name. */
  readonly name: string | undefined;
  readonly match: ApiMatch;
  readonly config: Config;
}

/** The APIs that the gateway serves: at least one. */
export function servedApis(config: Config): readonly ServedApi[] {
  if (config.apis.length === 0) return [{ name: undefined, match: EVERY_REQUEST, config }];
  return config.apis.map(({ name, match, ...own }) => ({
    name,
    match,
    config: { ...config, ...own },
  }));
}

/** Settings as they were loaded, at the start or by a reload. */
export interface Settings {
  readonly config: Config;
  readonly effective: readonly EffectiveSetting[];
  /** The text of each variable, secrets included: to compare, never to print. */
  readonly texts: ReadonlyMap<string, string | undefined>;
}

export type LoadResult =
  | ({ readonly kind: 'ok' } & Settings)
  /** One line per problem. It names the setting, what was expected, and what the value was. */
  | { readonly kind: 'bad'; readonly problems: readonly string[] };

export interface LoadOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** `--config`; it takes precedence over HEADGATE_CONFIG. */
  readonly configPath?: string | undefined;
  /** Throws when the file cannot be read. */
  readonly readFile: (path: string) => string;
}

/**
 * Loads the settings. The environment takes precedence over the file, the file over the preset, and
 * the preset over the defaults. Reports all problems at once.
 */
export function loadConfig({ env, configPath, readFile }: LoadOptions): LoadResult {
  const path = configPath ?? presentValue(env['HEADGATE_CONFIG']);
  const file = path === undefined ? undefined : openConfigFile(path, readFile);
  const problems = [...unknownVariables(env), ...(file?.problems ?? [])];
  const effective: EffectiveSetting[] = [];
  const texts = new Map<string, string | undefined>();
  const entries = file?.apis ?? [];
  const context: ReadContext = { env, readFile, problems };
  const readerFor = (scope: SettingScope): SettingReader =>
    makeSettingReader({ env, file, scope, problems, effective, texts });
  const reader = readerFor({ kind: entries.length === 0 ? 'single' : 'common' });
  const { optional, required } = reader;

  function tls(
    prefix: 'HEADGATE_TLS' | 'HEADGATE_ADMIN_TLS',
    cert: Setting<string>,
    key: Setting<string>,
  ): Config['tls'] {
    return tlsPaths(prefix, optional(cert), optional(key), readFile, problems);
  }

  const top = { lists: file?.lists ?? {}, places: file?.places ?? new Map() };
  const { lists } = top;
  const common = readApiConfig(reader, [top], context, entries.length === 0);
  const apis = entries.map((entry): NamedApiConfig => {
    const own = readerFor({ kind: 'api', entry });
    const { name, match } = entry;
    effective.push(effectiveMatch(name, match));
    return Object.assign(readApiConfig(own, [entry, top], context), { name, match });
  });
  const listen = required(SETTINGS.listen);
  const adminListen = required(SETTINGS.adminListen);
  const keysText = optional(SETTINGS.callerKeys);
  const keysPath = optional(SETTINGS.callerKeysFile);
  const keysInFile = keysPath === undefined ? undefined : readCallerKeysFile(keysPath, readFile);
  problems.push(...(keysInFile?.problems ?? []));
  if (keysText !== undefined && keysPath !== undefined) {
    problems.push('HEADGATE_CALLER_KEYS_FILE: expected it without HEADGATE_CALLER_KEYS, got both');
  }

  const config: Config = {
    ...common,
    apis,
    mode: required(SETTINGS.mode),
    listen,
    keepAliveTimeoutMs: required(SETTINGS.keepAliveTimeout),
    tls: tls('HEADGATE_TLS', SETTINGS.tlsCert, SETTINGS.tlsKey),
    adminListen,
    adminTls: tls('HEADGATE_ADMIN_TLS', SETTINGS.adminTlsCert, SETTINGS.adminTlsKey),
    intercept: readIntercept(reader, apis.length === 0 ? [common] : apis, readFile, problems),
    maxConnections: optional(SETTINGS.maxConnections),
    maxConnectionsPerAddress: optional(SETTINGS.maxConnectionsPerAddress),
    maxCalls: required(SETTINGS.maxCalls),
    body: {
      keepBytes: required(SETTINGS.bodyLimit),
      mostBytes: required(SETTINGS.bodyMax),
      memoryBytes: required(SETTINGS.bodyMemory),
      idleTimeoutMs: required(SETTINGS.bodyIdleTimeout),
      leastRate: required(SETTINGS.bodyMinRate),
    },
    caller: optional(SETTINGS.caller),
    callerKeys: keysText ?? keysInFile?.keys ?? [],
    open: required(SETTINGS.open),
    hosts: optional(SETTINGS.hosts) ?? [],
    trustedProxies: optional(SETTINGS.trustedProxies) ?? [],
    adminToken: readToken(reader, SETTINGS.adminToken, SETTINGS.adminTokenFile, context),
    redis: redisConfig(
      {
        address: optional(SETTINGS.redisUrl),
        prefix: required(SETTINGS.redisPrefix),
        timeoutMs: required(SETTINGS.redisTimeout),
        password: optional(SETTINGS.redisPassword),
        authPath: optional(SETTINGS.redisAuthFile),
        caPath: optional(SETTINGS.redisCa),
        certPath: optional(SETTINGS.redisCert),
        keyPath: optional(SETTINGS.redisKey),
      },
      readFile,
      problems,
    ),
    secret: readSecret(
      optional(SETTINGS.secret),
      optional(SETTINGS.secretFile),
      readFile,
      problems,
    ),
    drainDelayMs: required(SETTINGS.drainDelay),
    drainTimeoutMs: required(SETTINGS.drainTimeout),
    logLevel: required(SETTINGS.logLevel),
    logFormat: required(SETTINGS.logFormat),
  };
  effective.push(...effectiveLists(config, lists, presetOf(config)));
  for (const api of apis) {
    const { lists: own = {} } = entries.find(({ name }) => name === api.name) ?? {};
    effective.push(...effectiveListsOf(api, { ...lists, ...own }));
  }
  problems.push(...addressProblems(config));
  // Keys that could not be read are one problem already. They would also count as missing keys.
  if (problems.length === 0) {
    problems.push(...safetyProblems(config), ...credentialProblems(config));
    for (const each of [top, ...entries]) problems.push(...budgetProblems(each, config));
    for (const { name, callers } of apis) problems.push(...sumProblems(name, callers));
  }
  return problems.length > 0
    ? { kind: 'bad', problems }
    : {
        kind: 'ok',
        config: deepFreeze(config),
        effective: effective
          .map((setting) => sayPerClass(setting, config.classes))
          .toSorted((one, other) => inOrder(one.variable, other.variable)),
        texts: new Map([...texts].toSorted(([one], [other]) => inOrder(one, other))),
      };
}

/** What the preset of an API knows; it names no credentials and no accounts. */
function presetOf({ preset }: ApiConfig): Preset & Pick<ApiConfig, 'credentials' | 'accounts'> {
  return { ...(PRESETS.get(preset) ?? nonePreset), credentials: [], accounts: [] };
}

/** The lists of one of several APIs that are not empty. */
function effectiveListsOf(api: NamedApiConfig, inFile: FileEntries['lists']): EffectiveSetting[] {
  return effectiveLists(api, inFile, presetOf(api))
    .filter(({ source }) => source !== 'nobody')
    .map(({ variable, value, source }) => ({
      variable: `apis.${api.name}.${variable}`,
      value,
      source,
    }));
}

const ORDER: ReadonlyMap<string, number> = new Map(
  Object.values(SETTINGS).map(({ variable }, at) => [variable, at]),
);

/** In the order of the table of settings; those of single APIs behind them, as they were read. */
function inOrder(one: string, other: string): number {
  return (ORDER.get(one) ?? ORDER.size) - (ORDER.get(other) ?? ORDER.size);
}

function deepFreeze<T extends object>(value: T): T {
  for (const part of Object.values(value)) {
    if (typeof part === 'object' && part !== null) deepFreeze(part);
  }
  return Object.freeze(value);
}
