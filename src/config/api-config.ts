import type { ConfiguredLimit } from '../budget/bucket.ts';
import type { VersionRequest } from '../http/accept.ts';
import type { TokenField } from '../http/credential-fields.ts';
import type { ClassRule } from '../http/classify.ts';
import type { Account, LimitRule } from '../http/limit-rule.ts';
import { direct, proxyFor, type ProxyAddress } from '../http/proxy.ts';
import { nonePreset, type Preset } from '../presets/preset.ts';
import { PRESETS } from '../presets/presets.ts';
import type { CallerRule } from '../queue/caller-rules.ts';
import type { RateHeaderRule } from '../rate-headers/declared-headers.ts';
import { messageOf } from '../util/message-of.ts';
import type { ApiMatch } from './api-settings.ts';
import { tokenProblems } from './checks.ts';
import type { FileEntries } from './file.ts';
import { limitProblems } from './limits.ts';
import { readCa } from './pem-files.ts';
import type { SettingReader } from './setting-reader.ts';
import { SETTINGS, type Setting } from './settings.ts';
import type { UpstreamAddress } from './values.ts';

/** The settings of one API. */
export interface ApiConfig {
  readonly preset: string;
  readonly upstream: UpstreamAddress & {
    readonly timeoutMs: number;
    readonly connections: number;
    readonly socketLimits: { readonly maxAgeMs: number; readonly maxRequests: number };
    readonly address: { readonly host: string; readonly port: number | undefined } | undefined;
    readonly proxy: ProxyAddress | undefined;
    readonly ca: string | undefined;
  };
  /** Lower-case names of request fields that pass although they are usually dropped. */
  readonly allowHeaders: readonly string[];
  /** The statuses besides 429 with which the API may throttle. */
  readonly throttleStatuses: readonly number[];
  readonly via: 'on' | 'off';
  readonly links:
    | { readonly rewrite: 'off' }
    | { readonly rewrite: 'on'; readonly jsonLinks: readonly string[] };
  readonly apiVersion: VersionRequest | 'off';
  readonly token: ApiTokenConfig;
  readonly tokenField: TokenField;
  /** Lower-case names of the fields besides Authorization that hold a credential. */
  readonly credentialFields: readonly string[];
  /** Whether cookies pass also where the configured token is added. */
  readonly cookies: 'off' | 'on';
  readonly budgetPer: 'credential' | 'upstream';
  /** Whether answers teach which routes have a budget of their own. */
  readonly learnBuckets: 'on' | 'off';
  readonly limit: ConfiguredLimit | undefined;
  /** Which part of a limit may be kept for owners that do not wait; 0 for none. */
  readonly spread: number;
  readonly maxWaitMs: number;
  /** Whether clients' own timeouts are learned. */
  readonly patience: 'auto' | 'off';
  readonly maxQueue: number;
  readonly maxBuckets: number;
  /** `undefined`: the ledger derives it from {@link maxBuckets}. */
  readonly maxBucketsPerOwner: number | undefined;
  readonly shedStatus: 503 | 429;
  readonly retries: number;
  readonly lane: { readonly concurrency: number; readonly intervalMs: number };
  readonly classes: readonly ClassRule[];
  /** Limits over the classes. */
  readonly limits: readonly LimitRule[];
  /** Credentials that share budgets. */
  readonly accounts: readonly Account[];
  readonly pathMasks: readonly string[];
  readonly queryMasks: readonly string[];
  readonly callers: readonly CallerRule[];
  /** What is declared of the API's rate headers; of two rules for a header, the first applies. */
  readonly rateHeaders: readonly RateHeaderRule[];
  /** Names of credentials for people, by the hash that bucket ids have. */
  readonly credentials: readonly { readonly hash: string; readonly name: string }[];
}

/** One of several APIs: its name, and the requests that it serves. */
export interface NamedApiConfig extends ApiConfig {
  readonly name: string;
  readonly match: ApiMatch;
}

/** A token, or the file that contains it and is read again when it changes. */
export type TokenConfig =
  | { readonly kind: 'none' }
  | { readonly kind: 'value'; readonly value: string }
  | { readonly kind: 'file'; readonly path: string };

/** The token for an API, which a command may print, or the API issue, as well. */
export type ApiTokenConfig =
  | TokenConfig
  | {
      readonly kind: 'command';
      readonly command: string;
      readonly refreshMs: number | undefined;
    }
  | {
      readonly kind: 'basic';
      /** `user:password` */
      readonly login: string;
      /** Where the API issues a token; it has no base path. */
      readonly path: string;
    };

export interface ReadContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly readFile: (path: string) => string;
  readonly problems: string[];
}

/** For an API whose preset names no version, if one is configured. */
const DEFAULT_VERSION = { kind: 'accept', version: '', mediaType: 'application/json' } as const;

/**
 * Reads the settings of one API. `entries` are those of the file, the API's own first: its classes,
 * limits and accounts replace the others, its masks and rules are added to them. `hasUpstream` is
 * false for the defaults of several APIs, which are no API.
 */
export function readApiConfig(
  reader: SettingReader,
  entries: readonly Pick<FileEntries, 'lists' | 'places'>[],
  context: ReadContext,
  hasUpstream = true,
): ApiConfig {
  const { optional, required } = reader;
  const { env, readFile, problems } = context;
  const lists = entries.map((entry) => entry.lists);
  const preset = required(SETTINGS.preset);
  const known = PRESETS.get(preset) ?? nonePreset;
  const upstream = optional(SETTINGS.upstreamUrl, known.upstreamUrl);
  const isMissing = !reader.isSet(SETTINGS.upstreamUrl) && known.upstreamUrl === undefined;
  if (hasUpstream && isMissing) {
    problems.push(
      `${reader.placeOf(SETTINGS.upstreamUrl)}: expected ${SETTINGS.upstreamUrl.kind.expected}, got nothing, and the preset ${preset} has no default`,
    );
  }
  const version = optional(SETTINGS.apiVersion, known.apiVersion?.version) ?? 'off';
  const tokenField = required(SETTINGS.tokenHeader, known.tokenHeader);
  const throttleStatuses = required(SETTINGS.throttleStatuses);
  const proxy = upstream === undefined ? direct : proxyFor(env, upstream.origin);
  if (proxy.kind === 'bad') problems.push(proxy.problem);
  const metering = {
    classes: lists.find(({ classes }) => classes !== undefined)?.classes ?? known.classes,
    limits: lists.find(({ limits }) => limits !== undefined)?.limits ?? known.limits,
    accounts: lists.find(({ accounts }) => accounts !== undefined)?.accounts ?? [],
  };
  if (hasUpstream) {
    const found = limitProblems(metering, (list) =>
      entries.find(({ places }) => places.has(list))?.places.get(list),
    );
    problems.push(...found.filter((problem) => !problems.includes(problem)));
  }
  return {
    preset,
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
      ca: readCa(
        optional(SETTINGS.upstreamCa),
        readFile,
        problems,
        reader.placeOf(SETTINGS.upstreamCa),
      ),
    },
    allowHeaders: optional(SETTINGS.allowHeaders) ?? [],
    throttleStatuses: throttleStatuses === 'off' ? [] : throttleStatuses,
    via: required(SETTINGS.via),
    links:
      required(SETTINGS.rewriteLinks) === 'off'
        ? { rewrite: 'off' }
        : { rewrite: 'on', jsonLinks: known.jsonLinks },
    apiVersion: version === 'off' ? 'off' : { ...(known.apiVersion ?? DEFAULT_VERSION), version },
    token: readApiToken(reader, context, known),
    tokenField,
    credentialFields: [...known.credentialFields, tokenField.name.toLowerCase()].filter(
      (name) => name !== 'authorization',
    ),
    cookies: required(SETTINGS.cookies),
    budgetPer: required(SETTINGS.budgetPer),
    learnBuckets: required(SETTINGS.learnBuckets),
    limit: optional(SETTINGS.limit),
    spread: required(SETTINGS.spread),
    maxWaitMs: required(SETTINGS.maxWait),
    patience: required(SETTINGS.patience),
    maxQueue: required(SETTINGS.maxQueue),
    maxBuckets: required(SETTINGS.maxBuckets),
    maxBucketsPerOwner: optional(SETTINGS.maxBucketsPerOwner),
    shedStatus: required(SETTINGS.shedStatus),
    retries: required(SETTINGS.retries),
    lane: {
      concurrency: required(SETTINGS.laneConcurrency),
      intervalMs: required(SETTINGS.laneInterval),
    },
    ...metering,
    pathMasks: [...known.pathMasks, ...lists.flatMap(({ pathMasks }) => pathMasks ?? [])],
    queryMasks: [...known.queryMasks, ...lists.flatMap(({ queryMasks }) => queryMasks ?? [])],
    callers: [...lists.flatMap(({ callers }) => callers ?? []), ...known.callers],
    rateHeaders: [...lists.flatMap(({ rateHeaders }) => rateHeaders ?? []), ...known.rateHeaders],
    credentials: lists.flatMap(({ credentials }) => credentials ?? []),
  };
}

/** Reads a token, or the path of its file. Never shows the token. */
export function readToken(
  { optional, placeOf }: SettingReader,
  setting: Setting<string>,
  fileSetting: Setting<string>,
  { readFile, problems }: ReadContext,
): TokenConfig {
  const value = optional(setting);
  const path = optional(fileSetting);
  const places = { own: placeOf(setting), file: placeOf(fileSetting) };
  problems.push(...tokenProblems(places, setting.kind, value, path, readFile));
  if (value !== undefined) return { kind: 'value', value };
  return path === undefined ? { kind: 'none' } : { kind: 'file', path };
}

/** Reads where the token for an API comes from: at most one of its settings. */
function readApiToken(
  reader: SettingReader,
  context: ReadContext,
  { tokenPath }: Pick<Preset, 'tokenPath'>,
): ApiTokenConfig {
  const { optional, placeOf } = reader;
  const { problems, readFile } = context;
  const token = readToken(reader, SETTINGS.token, SETTINGS.tokenFile, context);
  const command = optional(SETTINGS.tokenCommand);
  const refreshMs = optional(SETTINGS.tokenRefresh);
  const ownLogin = optional(SETTINGS.tokenBasic);
  const loginPath = optional(SETTINGS.tokenBasicFile);
  const given: readonly (readonly [Setting<string>, unknown])[] = [
    [token.kind === 'file' ? SETTINGS.tokenFile : SETTINGS.token, token.kind !== 'none'],
    [SETTINGS.tokenCommand, command !== undefined],
    [SETTINGS.tokenBasic, ownLogin !== undefined],
    [SETTINGS.tokenBasicFile, loginPath !== undefined],
  ];
  const [first, ...others] = given.flatMap(([setting, isGiven]) =>
    isGiven === true ? [placeOf(setting)] : [],
  );
  for (const other of others) problems.push(`${other}: expected it without ${first}, got both`);
  if (refreshMs !== undefined && command === undefined) {
    problems.push(
      `${placeOf(SETTINGS.tokenRefresh)}: expected it with ${placeOf(SETTINGS.tokenCommand)}, got it alone`,
    );
  }
  if (command !== undefined) return { kind: 'command', command, refreshMs };
  const loginPlace = placeOf(
    loginPath === undefined ? SETTINGS.tokenBasic : SETTINGS.tokenBasicFile,
  );
  const login =
    loginPath === undefined ? ownLogin : readLogin(loginPath, loginPlace, readFile, problems);
  if (login === undefined) return token;
  if (tokenPath === undefined) {
    const able = [...PRESETS].filter(([, preset]) => preset.tokenPath !== undefined);
    problems.push(
      `${loginPlace}: expected a preset that knows where tokens are issued (${able.map(([name]) => name).join(', ')}), got another`,
    );
  }
  return { kind: 'basic', login, path: tokenPath ?? '' };
}

/** Reads a login from a file. Never shows it. */
function readLogin(
  path: string,
  place: string,
  readFile: ReadContext['readFile'],
  problems: string[],
): string | undefined {
  const { expected, parse } = SETTINGS.tokenBasic.kind;
  try {
    const content = readFile(path).trim();
    const login = parse(content);
    if (login === undefined) {
      problems.push(`${place}: expected a file with ${expected}, got ${content.length} characters`);
    }
    return login;
  } catch (error) {
    const reason = messageOf(error);
    problems.push(`${place}: expected a readable file, got: ${reason}`);
    return undefined;
  }
}
