import { isDeepStrictEqual } from 'node:util';
import type { ApiConfig, NamedApiConfig } from './api-config.ts';
import { safetyProblems } from './checks.ts';
import type { Config, Settings } from './config.ts';
import { fileKey } from './settings.ts';

/** The settings that a reload can change: by field of {@link Config}, the name in the settings. */
export const RELOADABLE_SETTINGS = {
  mode: 'HEADGATE_MODE',
  learnBuckets: 'HEADGATE_LEARN_BUCKETS',
  limit: 'HEADGATE_LIMIT',
  spread: 'HEADGATE_SPREAD',
  maxWaitMs: 'HEADGATE_MAX_WAIT',
  patience: 'HEADGATE_PATIENCE',
  maxQueue: 'HEADGATE_MAX_QUEUE',
  maxBuckets: 'HEADGATE_MAX_BUCKETS',
  maxBucketsPerOwner: 'HEADGATE_MAX_BUCKETS_PER_OWNER',
  shedStatus: 'HEADGATE_SHED_STATUS',
  throttleStatuses: 'HEADGATE_THROTTLE_STATUSES',
  retries: 'HEADGATE_RETRIES',
  caller: 'HEADGATE_CALLER',
  callerKeys: 'HEADGATE_CALLER_KEYS',
  open: 'HEADGATE_OPEN',
  hosts: 'HEADGATE_HOSTS',
  allowHeaders: 'HEADGATE_ALLOW_HEADERS',
  trustedProxies: 'HEADGATE_TRUSTED_PROXIES',
  adminToken: 'HEADGATE_ADMIN_TOKEN',
  drainDelayMs: 'HEADGATE_DRAIN_DELAY',
  drainTimeoutMs: 'HEADGATE_DRAIN_TIMEOUT',
  logLevel: 'HEADGATE_LOG_LEVEL',
  callers: 'callers',
  classes: 'classes',
  limits: 'limits',
  accounts: 'accounts',
  pathMasks: 'pathMasks',
  queryMasks: 'queryMasks',
  rateHeaders: 'rateHeaders',
  credentials: 'credentials',
} as const satisfies Partial<Record<keyof Config, string>>;

/** Those of them that an API may state for itself. */
const RELOADABLE_OF_API = [
  'learnBuckets',
  'limit',
  'spread',
  'maxWaitMs',
  'patience',
  'maxQueue',
  'maxBuckets',
  'maxBucketsPerOwner',
  'shedStatus',
  'throttleStatuses',
  'retries',
  'allowHeaders',
  'callers',
  'classes',
  'limits',
  'accounts',
  'pathMasks',
  'queryMasks',
  'rateHeaders',
] as const satisfies readonly (keyof ApiConfig & keyof typeof RELOADABLE_SETTINGS)[];

/** Two settings that name a file are included: they are another place for the same setting. */
const RELOADABLE_KEYS: ReadonlySet<string> = new Set(
  [
    ...Object.values(RELOADABLE_SETTINGS),
    'HEADGATE_CALLER_KEYS_FILE',
    'HEADGATE_ADMIN_TOKEN_FILE',
  ].map(keyOf),
);

/** The key in a file of `HEADGATE_MAX_WAIT`, and of `apis.github.maxWait`. */
function keyOf(name: string): string {
  if (name.startsWith('HEADGATE_')) return fileKey(name);
  return name.slice(name.lastIndexOf('.') + 1);
}

function isReloadable(name: string): boolean {
  return RELOADABLE_KEYS.has(keyOf(name));
}

export type Reload =
  | {
      readonly kind: 'reload';
      /** The settings from now on: reloadable ones are the new ones, all others stay. */
      readonly settings: Settings;
      /** The settings that change now. */
      readonly changed: readonly string[];
      /** The settings that differ as well, but only change at a restart. */
      readonly needRestart: readonly string[];
    }
  | { readonly kind: 'refused'; readonly problems: readonly string[] };

/**
 * Plans how `running` changes when `next` was loaded.
 *
 * The combination of both must be as safe as each alone. For example, `next` may drop the caller
 * keys because it moves the listener to a private address. The listener cannot move without a
 * restart, so the keys must stay.
 */
export function planReload(running: Settings, next: Settings): Reload {
  const problem = otherApis(running.config, next.config);
  if (problem !== undefined) return { kind: 'refused', problems: [problem] };
  const names = new Set([...next.texts.keys(), ...running.texts.keys()]);
  const needRestart = [...names].filter(
    (name) =>
      !isReloadable(name) &&
      isOfBoth(name, running.config.apis, next.config.apis) &&
      next.texts.get(name) !== running.texts.get(name),
  );
  const reloadable = keysOf(RELOADABLE_SETTINGS);
  const apis = reloadApis(running.config.apis, next.config.apis);
  const config: Config = Object.freeze({
    ...running.config,
    ...pick(next.config, reloadable),
    apis: apis.apis,
  });
  const problems = safetyProblems(config);
  if (problems.length > 0) return { kind: 'refused', problems };
  const changed = reloadable
    .filter((key) => !isDeepStrictEqual(running.config[key], next.config[key]))
    .map((key): string => RELOADABLE_SETTINGS[key]);
  // A setting that needs a restart keeps its old value, for people and for the next comparison.
  const inForce = (name: string): Settings => (isReloadable(name) ? next : running);
  const order = new Map([...names].map((name, at) => [name, at]));
  const orderOf = (name: string): number => order.get(name) ?? order.size;
  const effective = [
    ...next.effective.filter(({ variable }) => isReloadable(variable)),
    ...running.effective.filter(({ variable }) => !isReloadable(variable)),
  ].toSorted((one, other) => orderOf(one.variable) - orderOf(other.variable));
  const texts = new Map([...names].map((name) => [name, inForce(name).texts.get(name)]));
  return {
    kind: 'reload',
    settings: { config, effective, texts },
    changed: [...changed, ...apis.changed],
    needRestart: [...needRestart, ...apis.needRestart],
  };
}

/** Whether a setting is not one of an API that only one side has, which is named as a whole. */
function isOfBoth(name: string, ...sides: readonly (readonly NamedApiConfig[])[]): boolean {
  if (!name.startsWith('apis.')) return true;
  const api = name.slice('apis.'.length, name.lastIndexOf('.'));
  return sides.every((side) => side.some((one) => one.name === api));
}

/** Describes a change of the APIs that would change the meaning of all lists. */
function otherApis(running: Config, next: Config): string | undefined {
  if ((running.apis.length === 0) !== (next.apis.length === 0)) {
    const [expected, got] =
      running.apis.length === 0 ? ['a single API', 'several'] : ['several APIs', 'a single one'];
    return `apis: expected ${expected} until a restart, got ${got}`;
  }
  const known = new Map(next.apis.map((api) => [api.name, api.preset]));
  const presets = [
    { place: 'HEADGATE_PRESET', running: running.preset, next: next.preset },
    ...running.apis.map(({ name, preset }) => ({
      place: `apis.${name}.preset`,
      running: preset,
      next: known.get(name) ?? preset,
    })),
  ];
  const other = presets.find((preset) => preset.running !== preset.next);
  return other === undefined
    ? undefined
    : `${other.place}: expected ${other.running} until a restart, got ${other.next}: all lists depend on the preset`;
}

/** Applies what can change to the APIs that are served. Others come and leave at a restart only. */
function reloadApis(
  running: readonly NamedApiConfig[],
  next: readonly NamedApiConfig[],
): Pick<Reload & { kind: 'reload' }, 'changed' | 'needRestart'> & {
  readonly apis: readonly NamedApiConfig[];
} {
  const changed: string[] = [];
  const needRestart: string[] = [];
  const apis = running.map((api): NamedApiConfig => {
    const after = next.find(({ name }) => name === api.name);
    if (after === undefined) {
      needRestart.push(`apis.${api.name}`);
      return api;
    }
    if (!isDeepStrictEqual(api.match, after.match)) needRestart.push(`apis.${api.name}.match`);
    for (const key of RELOADABLE_OF_API) {
      if (isDeepStrictEqual(api[key], after[key])) continue;
      changed.push(`apis.${api.name}.${keyOf(RELOADABLE_SETTINGS[key])}`);
    }
    return Object.freeze({ ...api, ...pick(after, RELOADABLE_OF_API) });
  });
  for (const { name } of next) {
    if (running.every((api) => api.name !== name)) needRestart.push(`apis.${name}`);
  }
  return { apis, changed, needRestart };
}

function keysOf<T extends object>(value: T): (keyof T)[] {
  const keys: (keyof T)[] = [];
  for (const key in value) keys.push(key);
  return keys;
}

function pick(config: Partial<Config>, keys: readonly (keyof Config)[]): Partial<Config> {
  return Object.fromEntries(keys.map((key) => [key, config[key]]));
}
