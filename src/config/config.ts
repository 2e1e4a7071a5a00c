import type { CallerRule } from '../queue/caller-rules.ts';
import type { ClassRule } from '../http/classify.ts';
import { nonePreset } from '../presets/preset.ts';
import { PRESETS } from '../presets/presets.ts';
import { readCallerKeysFile, type CallerKey } from './caller-keys.ts';
import { addressProblems, tokenProblems } from './checks.ts';
import { find, openConfigFile, presentValue, type Source, quoted } from './find.ts';
import { safetyProblems } from './safety.ts';
import { direct, proxyFor, type ProxyAddress } from './proxy.ts';
import { readCa, tlsPaths } from './pem-files.ts';
import { redisConfig, readSecret, type RedisConfig } from './redis.ts';
import { SETTINGS, type LogLevel, type Setting } from './settings.ts';
import { unknownVariables } from './unknown-variables.ts';
import type { ConfiguredLimit } from '../budget/bucket.ts';
import { type ListenAddress, type UpstreamAddress } from './values.ts';

/** Everything Headgate can be told, understood and frozen; each part is one step's slice. */
export interface Config {
  readonly preset: string;
  readonly upstream: UpstreamAddress & {
    readonly timeoutMs: number;
    readonly connections: number;
    readonly address: { readonly host: string; readonly port: number | undefined } | undefined;
    readonly proxy: ProxyAddress | undefined;
    readonly ca: string | undefined;
  };
  readonly listen: ListenAddress;
  readonly keepAliveTimeoutMs: number;
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
  readonly via: 'on' | 'off';
  readonly links:
    | { readonly rewrite: 'off' }
    | { readonly rewrite: 'on'; readonly jsonLinks: readonly string[] };
  readonly adminListen: ListenAddress | 'off';
  readonly apiVersion: { readonly version: string; readonly mediaType: string } | 'off';
  readonly token:
    | { readonly kind: 'none' }
    | { readonly kind: 'value'; readonly value: string }
    | { readonly kind: 'file'; readonly path: string };
  readonly budgetPer: 'credential' | 'upstream';
  readonly limit: ConfiguredLimit | undefined;
  readonly maxWaitMs: number;
  readonly maxQueue: number;
  readonly shedStatus: 503 | 429;
  readonly retries: number;
  readonly body: {
    readonly keepBytes: number;
    readonly mostBytes: number;
    readonly memoryBytes: number;
    readonly idleTimeoutMs: number;
  };
  readonly lane: { readonly concurrency: number; readonly intervalMs: number };
  readonly caller: string | undefined;
  /** Whom we serve; empty: everybody. */
  readonly callerKeys: readonly CallerKey[];
  /** Whether strangers may spend the token. */
  readonly open: boolean;
  /** Further names that a Host field may have for us. */
  readonly hosts: readonly string[];
  readonly adminToken: string | undefined;
  /** Where the ledger is shared; `undefined`: it is kept in this process. */
  readonly redis: RedisConfig | undefined;
  /** Key of the bucket names. */
  readonly secret: string | undefined;
  readonly drainDelayMs: number;
  readonly drainTimeoutMs: number;
  readonly logLevel: LogLevel;
  readonly classes: readonly ClassRule[];
  readonly pathMasks: readonly string[];
  readonly callers: readonly CallerRule[];
}

/** A setting as it is in force, for people: secrets are masked. */
export interface Shown {
  readonly variable: string;
  readonly value: string;
  readonly source: Source;
}

export type Loaded =
  | {
      readonly kind: 'ok';
      readonly config: Config;
      readonly shown: readonly Shown[];
      /** What was written for each variable, secrets included: to compare, never to print. */
      readonly given: ReadonlyMap<string, string | undefined>;
    }
  /** One line per problem: it names the setting, what was expected, and what came. */
  | { readonly kind: 'bad'; readonly problems: readonly string[] };

export interface LoadOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** `--config`; it goes before HEADGATE_CONFIG. */
  readonly configPath?: string | undefined;
  /** Throws when there is no such file. */
  readonly readFile: (path: string) => string;
}

const DEFAULT_MEDIA_TYPE = 'application/json';

/** Reads the settings: environment over file over preset over defaults. All problems at once. */
export function loadConfig({ env, configPath, readFile }: LoadOptions): Loaded {
  const path = configPath ?? presentValue(env['HEADGATE_CONFIG']);
  const file = path === undefined ? undefined : openConfigFile(path, readFile);
  const problems = [...unknownVariables(env), ...(file?.problems ?? [])];
  const shown: Shown[] = [];
  const given = new Map<string, string | undefined>();

  /** The setting's value; `undefined` when nobody gave one, or when it was a problem. */
  function optional<T>(setting: Setting<T>, fromPreset?: string): T | undefined {
    const found = find(setting, env, file, fromPreset);
    const { variable, kind, secret } = setting;
    const display = secret === true && found.text !== undefined ? '(secret)' : (found.text ?? '');
    given.set(variable, found.text);
    shown.push({ variable, value: display, source: found.source });
    if (found.text === undefined) return undefined;
    const value = kind.parse(found.text);
    if (value === undefined) {
      const got =
        secret === true ? `a value of ${found.text.length} characters` : quoted(found.text);
      problems.push(`${found.place}: expected ${kind.expected}, got ${got}`);
    }
    return value;
  }

  /** For settings that have a default. After a problem it goes on with that, to find the rest. */
  function required<T>(setting: Setting<T>): T {
    const value = optional(setting) ?? setting.kind.parse(setting.fallback ?? '');
    if (value === undefined) throw new Error(`the default of ${setting.variable} is not valid`);
    return value;
  }

  const preset = required(SETTINGS.preset);
  const known = PRESETS.get(preset) ?? nonePreset;
  const upstream = optional(SETTINGS.upstreamUrl, known.upstreamUrl);
  if (upstream === undefined && shown.at(-1)?.source === 'nobody') {
    problems.push(
      `HEADGATE_UPSTREAM_URL: expected ${SETTINGS.upstreamUrl.kind.expected}, got nothing, and the preset ${preset} names none`,
    );
  }
  const version = optional(SETTINGS.apiVersion, known.apiVersion?.version) ?? 'off';
  const mediaType = known.apiVersion?.mediaType ?? DEFAULT_MEDIA_TYPE;
  const listen = required(SETTINGS.listen);
  const adminListen = required(SETTINGS.adminListen);
  problems.push(...addressProblems(listen, adminListen, upstream));
  const proxy = upstream === undefined ? direct : proxyFor(env, upstream.origin);
  if (proxy.kind === 'bad') problems.push(proxy.problem);
  const tokenText = optional(SETTINGS.token);
  const tokenFile = optional(SETTINGS.tokenFile);
  problems.push(...tokenProblems(tokenText, tokenFile, readFile));
  const keysText = optional(SETTINGS.callerKeys);
  const keysPath = optional(SETTINGS.callerKeysFile);
  const keysInFile = keysPath === undefined ? undefined : readCallerKeysFile(keysPath, readFile);
  problems.push(...(keysInFile?.problems ?? []));
  if (keysText !== undefined && keysPath !== undefined) {
    problems.push(
      'HEADGATE_CALLER_KEYS_FILE: expected to be alone, got HEADGATE_CALLER_KEYS as well',
    );
  }

  const config: Config = {
    preset,
    upstream: {
      ...(upstream ?? { origin: '', basePath: '' }),
      timeoutMs: required(SETTINGS.upstreamTimeout),
      connections: required(SETTINGS.upstreamConnections),
      address: optional(SETTINGS.upstreamAddress),
      proxy: proxy.kind === 'proxy' ? proxy.proxy : undefined,
      ca: readCa(optional(SETTINGS.upstreamCa), readFile, problems),
    },
    listen,
    keepAliveTimeoutMs: required(SETTINGS.keepAliveTimeout),
    tls: tlsPaths(optional(SETTINGS.tlsCert), optional(SETTINGS.tlsKey), readFile, problems),
    via: required(SETTINGS.via),
    links:
      required(SETTINGS.rewriteLinks) === 'off'
        ? { rewrite: 'off' }
        : { rewrite: 'on', jsonLinks: known.jsonLinks },
    adminListen,
    apiVersion: version === 'off' ? 'off' : { version, mediaType },
    token: tokenFrom(tokenText, tokenFile),
    budgetPer: required(SETTINGS.budgetPer),
    limit: optional(SETTINGS.limit),
    maxWaitMs: required(SETTINGS.maxWait),
    maxQueue: required(SETTINGS.maxQueue),
    shedStatus: required(SETTINGS.shedStatus),
    retries: required(SETTINGS.retries),
    body: {
      keepBytes: required(SETTINGS.bodyLimit),
      mostBytes: required(SETTINGS.bodyMax),
      memoryBytes: required(SETTINGS.bodyMemory),
      idleTimeoutMs: required(SETTINGS.bodyIdleTimeout),
    },
    lane: {
      concurrency: required(SETTINGS.laneConcurrency),
      intervalMs: required(SETTINGS.laneInterval),
    },
    caller: optional(SETTINGS.caller),
    callerKeys: keysText ?? keysInFile?.keys ?? [],
    open: required(SETTINGS.open),
    hosts: optional(SETTINGS.hosts) ?? [],
    adminToken: optional(SETTINGS.adminToken),
    redis: redisConfig(
      {
        address: optional(SETTINGS.redisUrl),
        prefix: required(SETTINGS.redisPrefix),
        timeoutMs: required(SETTINGS.redisTimeout),
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
    classes: file?.lists.classes ?? known.classes,
    pathMasks: [...known.pathMasks, ...(file?.lists.pathMasks ?? [])],
    callers: [...(file?.lists.callers ?? []), ...known.callers],
  };
  // Where keys were meant and could not be read, that is the problem to tell.
  if (problems.length === 0) problems.push(...safetyProblems(config));
  return problems.length > 0
    ? { kind: 'bad', problems }
    : { kind: 'ok', config: deepFreeze(config), shown, given };
}

function tokenFrom(value: string | undefined, path: string | undefined): Config['token'] {
  if (value !== undefined) return { kind: 'value', value };
  return path === undefined ? { kind: 'none' } : { kind: 'file', path };
}

function deepFreeze<T extends object>(value: T): T {
  for (const part of Object.values(value)) {
    if (typeof part === 'object' && part !== null) deepFreeze(part);
  }
  return Object.freeze(value);
}
