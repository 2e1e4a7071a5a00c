import { isDeepStrictEqual } from 'node:util';
import { safetyProblems } from './checks.ts';
import type { Config, Settings } from './config.ts';

/** The settings that a reload can change: by field of {@link Config}, the name in the settings. */
export const RELOADABLE_SETTINGS = {
  mode: 'HEADGATE_MODE',
  limit: 'HEADGATE_LIMIT',
  maxWaitMs: 'HEADGATE_MAX_WAIT',
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
  pathMasks: 'pathMasks',
  queryMasks: 'queryMasks',
  rateHeaders: 'rateHeaders',
  credentials: 'credentials',
} as const satisfies Partial<Record<keyof Config, string>>;

/** Two settings that name a file are included: they are another place for the same setting. */
const RELOADABLE_NAMES: ReadonlySet<string> = new Set([
  ...Object.values(RELOADABLE_SETTINGS),
  'HEADGATE_CALLER_KEYS_FILE',
  'HEADGATE_ADMIN_TOKEN_FILE',
]);

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
  const needRestart = [...next.texts.keys()].filter(
    (variable) =>
      !RELOADABLE_NAMES.has(variable) && next.texts.get(variable) !== running.texts.get(variable),
  );
  if (next.config.preset !== running.config.preset) {
    const { preset } = running.config;
    const mismatch = `expected ${preset} until a restart, got ${next.config.preset}`;
    return {
      kind: 'refused',
      problems: [`HEADGATE_PRESET: ${mismatch}: all lists depend on the preset`],
    };
  }
  const reloadable = keysOf(RELOADABLE_SETTINGS);
  const config: Config = Object.freeze({ ...running.config, ...pick(next.config, reloadable) });
  const problems = safetyProblems(config);
  if (problems.length > 0) return { kind: 'refused', problems };
  const changed = reloadable
    .filter((key) => !isDeepStrictEqual(running.config[key], next.config[key]))
    .map((key) => RELOADABLE_SETTINGS[key]);
  // A setting that needs a restart keeps its old value, for people and for the next comparison.
  const inForce = (variable: string): Settings => (RELOADABLE_NAMES.has(variable) ? next : running);
  const effective = next.effective.map(
    (setting) =>
      inForce(setting.variable).effective.find(({ variable }) => variable === setting.variable) ??
      setting,
  );
  const texts = new Map(
    [...next.texts.keys()].map((variable) => [variable, inForce(variable).texts.get(variable)]),
  );
  return { kind: 'reload', settings: { config, effective, texts }, changed, needRestart };
}

type ReloadableKey = keyof typeof RELOADABLE_SETTINGS;

function keysOf<T extends object>(value: T): (keyof T)[] {
  const keys: (keyof T)[] = [];
  for (const key in value) keys.push(key);
  return keys;
}

function pick(config: Config, keys: readonly ReloadableKey[]): Partial<Config> {
  return Object.fromEntries(keys.map((key) => [key, config[key]]));
}
