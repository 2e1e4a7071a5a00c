import { isDeepStrictEqual } from 'node:util';
import type { Config, Shown } from './config.ts';
import { safetyProblems } from './safety.ts';

/** Settings as they were read, at the start or again later. */
export interface Settings {
  readonly config: Config;
  readonly shown: readonly Shown[];
  /** What was written for each variable, secrets included: to compare, never to print. */
  readonly given: ReadonlyMap<string, string | undefined>;
}

/** What can change while the gateway runs, by the name under which a person set it. */
export const LIVE_SETTINGS = {
  limit: 'HEADGATE_LIMIT',
  maxWaitMs: 'HEADGATE_MAX_WAIT',
  maxQueue: 'HEADGATE_MAX_QUEUE',
  shedStatus: 'HEADGATE_SHED_STATUS',
  retries: 'HEADGATE_RETRIES',
  caller: 'HEADGATE_CALLER',
  callerKeys: 'HEADGATE_CALLER_KEYS',
  open: 'HEADGATE_OPEN',
  hosts: 'HEADGATE_HOSTS',
  adminToken: 'HEADGATE_ADMIN_TOKEN',
  drainDelayMs: 'HEADGATE_DRAIN_DELAY',
  drainTimeoutMs: 'HEADGATE_DRAIN_TIMEOUT',
  logLevel: 'HEADGATE_LOG_LEVEL',
  callers: 'callers',
  classes: 'classes',
  pathMasks: 'pathMasks',
} as const satisfies Partial<Record<keyof Config, string>>;

/** Where the keys stand does not matter, only what they are. */
const LIVE_NAMES: ReadonlySet<string> = new Set([
  ...Object.values(LIVE_SETTINGS),
  'HEADGATE_CALLER_KEYS_FILE',
]);

export type Reload =
  | {
      readonly kind: 'reload';
      /** What runs from now on: what can change is the new, everything else as before. */
      readonly settings: Settings;
      /** What changed by it. */
      readonly changed: readonly string[];
      /** What was changed too, and waits for a restart. */
      readonly needRestart: readonly string[];
    }
  | { readonly kind: 'refused'; readonly problems: readonly string[] };

/**
 * What becomes of `running` when `next` was read. What the two make together must be as safe as
 * each alone: keys that went, because the new listener is a private one, must not leave the old
 * listener open.
 */
export function planReload(running: Settings, next: Settings): Reload {
  const needRestart = [...next.given.keys()].filter(
    (variable) =>
      !LIVE_NAMES.has(variable) && next.given.get(variable) !== running.given.get(variable),
  );
  if (next.config.preset !== running.config.preset) {
    const { preset } = running.config;
    const why = `expected ${preset} while it runs, got ${next.config.preset}`;
    return {
      kind: 'refused',
      problems: [`HEADGATE_PRESET: ${why}: all lists follow from it, so it needs a restart`],
    };
  }
  const live = keysOf(LIVE_SETTINGS);
  const config: Config = Object.freeze({ ...running.config, ...pick(next.config, live) });
  const problems = safetyProblems(config);
  if (problems.length > 0) return { kind: 'refused', problems };
  const changed = live
    .filter((key) => !isDeepStrictEqual(running.config[key], next.config[key]))
    .map((key) => LIVE_SETTINGS[key]);
  // What still runs as it was is also shown, and compared the next time, as it was.
  const asItRuns = (variable: string): Settings => (LIVE_NAMES.has(variable) ? next : running);
  const shown = next.shown.map(
    (line) =>
      asItRuns(line.variable).shown.find(({ variable }) => variable === line.variable) ?? line,
  );
  const given = new Map(
    [...next.given.keys()].map((variable) => [variable, asItRuns(variable).given.get(variable)]),
  );
  return { kind: 'reload', settings: { config, shown, given }, changed, needRestart };
}

type LiveKey = keyof typeof LIVE_SETTINGS;

function keysOf<T extends object>(value: T): (keyof T)[] {
  const keys: (keyof T)[] = [];
  for (const key in value) keys.push(key);
  return keys;
}

function pick(config: Config, keys: readonly LiveKey[]): Partial<Config> {
  return Object.fromEntries(keys.map((key) => [key, config[key]]));
}
