import type { VersionRequest } from '../http/accept.ts';
import type { TokenField } from '../http/credential-fields.ts';
import type { CallerRule } from '../queue/caller-rules.ts';
import type { Network } from '../http/caller-origin.ts';
import type { ClassRule } from '../http/classify.ts';
import { nonePreset } from '../presets/preset.ts';
import { PRESETS } from '../presets/presets.ts';
import { direct, proxyFor, type ProxyAddress } from '../http/proxy.ts';
import type { LogFormat } from '../util/log-format.ts';
import type { LogLevel } from '../util/log-level.ts';
import { readCallerKeysFile, type CallerKey } from './caller-keys.ts';
import { addressProblems, credentialProblems, safetyProblems, tokenProblems } from './checks.ts';
import {
  effectiveLists,
  sayPerClass,
  type EffectiveSetting,
  type SettingSource,
} from './effective.ts';
import { openConfigFile, type ConfigFile } from './file.ts';
import { readCa, tlsPaths } from './pem-files.ts';
import { redisConfig, readSecret, type RedisConfig } from './redis.ts';
import { SETTINGS, type Setting } from './settings.ts';
import { unknownVariables } from './unknown-variables.ts';
import type { ConfiguredLimit } from '../budget/bucket.ts';
import type { RateHeaderRule } from '../rate-headers/declared-headers.ts';
import type { ListenAddress, UpstreamAddress } from './values.ts';

/** All settings, parsed and frozen. A step of the pipeline receives the slice that it uses. */
export interface Config {
  readonly preset: string;
  /** Whether requests wait and are shed, or are only observed. */
  readonly mode: 'enforce' | 'observe';
  readonly upstream: UpstreamAddress & {
    readonly timeoutMs: number;
    readonly connections: number;
    readonly socketLimits: { readonly maxAgeMs: number; readonly maxRequests: number };
    readonly address: { readonly host: string; readonly port: number | undefined } | undefined;
    readonly proxy: ProxyAddress | undefined;
    readonly ca: string | undefined;
  };
  readonly listen: ListenAddress;
  readonly keepAliveTimeoutMs: number;
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
  /** Lower-case names of request fields that pass although they are usually dropped. */
  readonly allowHeaders: readonly string[];
  /** The statuses besides 429 with which the API may throttle. */
  readonly throttleStatuses: readonly number[];
  readonly via: 'on' | 'off';
  readonly links:
    | { readonly rewrite: 'off' }
    | { readonly rewrite: 'on'; readonly jsonLinks: readonly string[] };
  readonly adminListen: ListenAddress | 'off';
  readonly adminTls: { readonly cert: string; readonly key: string } | undefined;
  readonly apiVersion: VersionRequest | 'off';
  readonly token: TokenConfig;
  readonly tokenField: TokenField;
  /** Lower-case names of the fields besides Authorization that hold a credential. */
  readonly credentialFields: readonly string[];
  /** Whether cookies pass also where the configured token is added. */
  readonly cookies: 'off' | 'on';
  readonly budgetPer: 'credential' | 'upstream';
  readonly limit: ConfiguredLimit | undefined;
  readonly maxWaitMs: number;
  readonly maxQueue: number;
  /** The most connections of callers, in all and from one address; `undefined`: by the host. */
  readonly maxConnections: number | undefined;
  readonly maxConnectionsPerAddress: number | undefined;
  readonly maxBuckets: number;
  /** `undefined`: the ledger derives it from {@link maxBuckets}. */
  readonly maxBucketsPerOwner: number | undefined;
  /** The most calls that have not ended. */
  readonly maxCalls: number;
  readonly shedStatus: 503 | 429;
  readonly retries: number;
  readonly body: {
    readonly keepBytes: number;
    readonly mostBytes: number;
    readonly memoryBytes: number;
    readonly idleTimeoutMs: number;
    readonly leastRate: number;
  };
  readonly lane: { readonly concurrency: number; readonly intervalMs: number };
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
  readonly classes: readonly ClassRule[];
  readonly pathMasks: readonly string[];
  readonly queryMasks: readonly string[];
  readonly callers: readonly CallerRule[];
  /** What is declared of the API's rate headers; of two rules for a header, the first applies. */
  readonly rateHeaders: readonly RateHeaderRule[];
  /** Names of credentials for people, by the hash that bucket ids have. */
  readonly credentials: readonly { readonly hash: string; readonly name: string }[];
}

/** A token, or the file that contains it and is read again when it changes. */
export type TokenConfig =
  | { readonly kind: 'none' }
  | { readonly kind: 'value'; readonly value: string }
  | { readonly kind: 'file'; readonly path: string };

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

/** For an API whose preset names no version, if one is configured. */
const DEFAULT_VERSION = { kind: 'accept', version: '', mediaType: 'application/json' } as const;

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

  /** The setting's value; `undefined` when it has none, or when its text is not valid. */
  function optional<T>(setting: Setting<T>, fromPreset?: string): T | undefined {
    const found = find(setting, env, file, fromPreset);
    const { variable, kind, secret } = setting;
    const display = secret === true && found.text !== undefined ? '(secret)' : (found.text ?? '');
    texts.set(variable, found.text);
    effective.push({ variable, value: display, source: found.source });
    if (found.text === undefined) return undefined;
    const value = kind.parse(found.text);
    if (value === undefined) {
      const got =
        secret === true ? `a value of ${found.text.length} characters` : quoted(found.text);
      const problem = kind.problem?.(found.text) ?? `expected ${kind.expected}, got ${got}`;
      problems.push(`${found.place}: ${problem}`);
    }
    return value;
  }

  /** For a setting with a default. After a problem it returns the default, to find all problems. */
  function required<T>(setting: Setting<T>, fromPreset?: string): T {
    const value = optional(setting, fromPreset) ?? setting.kind.parse(setting.fallback ?? '');
    if (value === undefined) throw new Error(`the default of ${setting.variable} is not valid`);
    return value;
  }

  function tokenFrom(setting: Setting<string>, fileSetting: Setting<string>): TokenConfig {
    const value = optional(setting);
    const path = optional(fileSetting);
    problems.push(...tokenProblems(setting, value, path, readFile));
    if (value !== undefined) return { kind: 'value', value };
    return path === undefined ? { kind: 'none' } : { kind: 'file', path };
  }

  function tls(
    prefix: 'HEADGATE_TLS' | 'HEADGATE_ADMIN_TLS',
    cert: Setting<string>,
    key: Setting<string>,
  ): Config['tls'] {
    return tlsPaths(prefix, optional(cert), optional(key), readFile, problems);
  }

  const preset = required(SETTINGS.preset);
  const known = PRESETS.get(preset) ?? nonePreset;
  const upstream = optional(SETTINGS.upstreamUrl, known.upstreamUrl);
  if (upstream === undefined && effective.at(-1)?.source === 'nobody') {
    problems.push(
      `HEADGATE_UPSTREAM_URL: expected ${SETTINGS.upstreamUrl.kind.expected}, got nothing, and the preset ${preset} has no default`,
    );
  }
  const version = optional(SETTINGS.apiVersion, known.apiVersion?.version) ?? 'off';
  const tokenField = required(SETTINGS.tokenHeader, known.tokenHeader);
  const listen = required(SETTINGS.listen);
  const throttleStatuses = required(SETTINGS.throttleStatuses);
  const adminListen = required(SETTINGS.adminListen);
  problems.push(...addressProblems(listen, adminListen, upstream));
  const proxy = upstream === undefined ? direct : proxyFor(env, upstream.origin);
  if (proxy.kind === 'bad') problems.push(proxy.problem);
  const token = tokenFrom(SETTINGS.token, SETTINGS.tokenFile);
  const adminToken = tokenFrom(SETTINGS.adminToken, SETTINGS.adminTokenFile);
  const keysText = optional(SETTINGS.callerKeys);
  const keysPath = optional(SETTINGS.callerKeysFile);
  const keysInFile = keysPath === undefined ? undefined : readCallerKeysFile(keysPath, readFile);
  problems.push(...(keysInFile?.problems ?? []));
  if (keysText !== undefined && keysPath !== undefined) {
    problems.push('HEADGATE_CALLER_KEYS_FILE: expected it without HEADGATE_CALLER_KEYS, got both');
  }

  const config: Config = {
    preset,
    mode: required(SETTINGS.mode),
    upstream: {
      ...(upstream ?? { origin: '', basePath: '' }),
      timeoutMs: required(SETTINGS.upstreamTimeout),
      connections: required(SETTINGS.upstreamConnections),
      socketLimits: {
        maxAgeMs: required(SETTINGS.upstreamSocketAge),
        maxRequests: required(SETTINGS.upstreamSocketRequests),
      },
      address: optional(SETTINGS.upstreamAddress),
      proxy: proxy.kind === 'proxy' ? proxy.proxy : undefined,
      ca: readCa(optional(SETTINGS.upstreamCa), readFile, problems),
    },
    listen,
    keepAliveTimeoutMs: required(SETTINGS.keepAliveTimeout),
    tls: tls('HEADGATE_TLS', SETTINGS.tlsCert, SETTINGS.tlsKey),
    allowHeaders: optional(SETTINGS.allowHeaders) ?? [],
    throttleStatuses: throttleStatuses === 'off' ? [] : throttleStatuses,
    via: required(SETTINGS.via),
    links:
      required(SETTINGS.rewriteLinks) === 'off'
        ? { rewrite: 'off' }
        : { rewrite: 'on', jsonLinks: known.jsonLinks },
    adminListen,
    adminTls: tls('HEADGATE_ADMIN_TLS', SETTINGS.adminTlsCert, SETTINGS.adminTlsKey),
    apiVersion: version === 'off' ? 'off' : { ...(known.apiVersion ?? DEFAULT_VERSION), version },
    token,
    tokenField,
    credentialFields: [...known.credentialFields, tokenField.name.toLowerCase()].filter(
      (name) => name !== 'authorization',
    ),
    cookies: required(SETTINGS.cookies),
    budgetPer: required(SETTINGS.budgetPer),
    limit: optional(SETTINGS.limit),
    maxWaitMs: required(SETTINGS.maxWait),
    maxQueue: required(SETTINGS.maxQueue),
    maxConnections: optional(SETTINGS.maxConnections),
    maxConnectionsPerAddress: optional(SETTINGS.maxConnectionsPerAddress),
    maxBuckets: required(SETTINGS.maxBuckets),
    maxBucketsPerOwner: optional(SETTINGS.maxBucketsPerOwner),
    maxCalls: required(SETTINGS.maxCalls),
    shedStatus: required(SETTINGS.shedStatus),
    retries: required(SETTINGS.retries),
    body: {
      keepBytes: required(SETTINGS.bodyLimit),
      mostBytes: required(SETTINGS.bodyMax),
      memoryBytes: required(SETTINGS.bodyMemory),
      idleTimeoutMs: required(SETTINGS.bodyIdleTimeout),
      leastRate: required(SETTINGS.bodyMinRate),
    },
    lane: {
      concurrency: required(SETTINGS.laneConcurrency),
      intervalMs: required(SETTINGS.laneInterval),
    },
    caller: optional(SETTINGS.caller),
    callerKeys: keysText ?? keysInFile?.keys ?? [],
    open: required(SETTINGS.open),
    hosts: optional(SETTINGS.hosts) ?? [],
    trustedProxies: optional(SETTINGS.trustedProxies) ?? [],
    adminToken,
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
    classes: file?.lists.classes ?? known.classes,
    pathMasks: [...known.pathMasks, ...(file?.lists.pathMasks ?? [])],
    queryMasks: [...known.queryMasks, ...(file?.lists.queryMasks ?? [])],
    callers: [...(file?.lists.callers ?? []), ...known.callers],
    rateHeaders: [...(file?.lists.rateHeaders ?? []), ...known.rateHeaders],
    credentials: file?.lists.credentials ?? [],
  };
  effective.push(...effectiveLists(config, file?.lists ?? {}, { ...known, credentials: [] }));
  // Keys that could not be read are one problem already. They would also count as missing keys.
  if (problems.length === 0) {
    problems.push(...safetyProblems(config), ...credentialProblems(config));
  }
  return problems.length > 0
    ? { kind: 'bad', problems }
    : {
        kind: 'ok',
        config: deepFreeze(config),
        effective: effective.map((setting) => sayPerClass(setting, config.classes)),
        texts,
      };
}

/** The text of a setting, and where it was found. */
interface FoundText {
  readonly text: string | undefined;
  readonly source: SettingSource;
  /** How a problem names the setting: its variable, or its line in the file. */
  readonly place: string;
}

function find(
  { variable, fallback }: Setting<unknown>,
  env: LoadOptions['env'],
  file: ConfigFile | undefined,
  fromPreset: string | undefined,
): FoundText {
  const inEnvironment = presentValue(env[variable]);
  if (inEnvironment !== undefined) {
    return { text: inEnvironment, source: 'environment', place: variable };
  }
  const inFile = file?.settings.get(variable);
  if (inFile !== undefined) return { text: inFile.text, source: 'file', place: inFile.place };
  if (fromPreset !== undefined) return { text: fromPreset, source: 'preset', place: variable };
  return { text: fallback, source: fallback === undefined ? 'nobody' : 'default', place: variable };
}

/** An empty variable counts as unset, because compose files and shells cannot leave one out. */
function presentValue(value: string | undefined): string | undefined {
  return value === '' ? undefined : value;
}

/** Characters of a wrong value that a problem shows. */
const MAX_SHOWN = 200;

/** A value as a problem shows it: on one line, without the credentials that a URL may contain. */
function quoted(text: string): string {
  const shown = text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
  return JSON.stringify(shown.replaceAll(/\/\/[^/?#]*@/g, '//(secret)@'));
}

function deepFreeze<T extends object>(value: T): T {
  for (const part of Object.values(value)) {
    if (typeof part === 'object' && part !== null) deepFreeze(part);
  }
  return Object.freeze(value);
}
