import type { ClassRule } from '../http/classify.ts';
import type { Account, LimitRule } from '../http/limit-rule.ts';
import type { CallerRule } from '../queue/caller-rules.ts';
import type { RateHeaderRule } from '../rate-headers/declared-headers.ts';
import type { ApiMatch } from './api-settings.ts';
import type { ConfigFile } from './file.ts';
import { sizeText } from './limits.ts';
import { SETTINGS } from './settings.ts';

/** Where a setting's value comes from; `nobody`: it is not set and has no default. */
export type SettingSource =
  | 'environment'
  | 'file'
  | 'preset'
  | 'file and preset'
  | 'default'
  | 'nobody';

/** A setting in force, for people to read: a secret is masked. */
export interface EffectiveSetting {
  readonly variable: string;
  readonly value: string;
  readonly source: SettingSource;
}

/** The lists of the settings. */
interface Lists {
  readonly callers: readonly CallerRule[];
  readonly classes: readonly ClassRule[];
  readonly limits: readonly LimitRule[];
  readonly accounts: readonly Account[];
  readonly pathMasks: readonly string[];
  readonly queryMasks: readonly string[];
  readonly rateHeaders: readonly RateHeaderRule[];
  readonly credentials: readonly { readonly hash: string; readonly name: string }[];
}

/**
 * HEADGATE_LIMIT is the limit of each class that states none of its own, which its value does not show.
 * Other settings stay as they are.
 */
export function sayPerClass(
  setting: EffectiveSetting,
  classes: readonly ClassRule[],
): EffectiveSetting {
  const { variable, value } = setting;
  if (variable !== SETTINGS.limit.variable || value === '' || classes.length === 0) return setting;
  const without = classes.filter(
    ({ limits }) => !(limits?.some(({ name }) => name === undefined) ?? false),
  );
  const names = [...new Set(without.map(({ name }) => name))];
  return { ...setting, value: `${value} for each of ${names.join(', ')}` };
}

/** Which requests one of several APIs serves, for people to read. */
export function effectiveMatch(name: string, { hosts, prefix }: ApiMatch): EffectiveSetting {
  const words = [
    ...(hosts.length === 0 ? [] : [`host: ${hosts.join(' ')}`]),
    ...(prefix === '' ? [] : [`path: ${prefix}/**`]),
  ];
  return words.length === 0
    ? { variable: `apis.${name}.match`, value: 'every other request', source: 'default' }
    : { variable: `apis.${name}.match`, value: words.join('; '), source: 'file' };
}

/** The lists in force, for people to read: a rule is its fields, in parentheses after its name. */
export function effectiveLists(
  config: Lists,
  inFile: ConfigFile['lists'],
  fromPreset: Lists,
): EffectiveSetting[] {
  const texts = {
    callers: config.callers.map(({ name, quota, reserve, ...rest }) =>
      ruleText(name ?? '*', {
        ...rest,
        ...(quota === undefined ? {} : { quota: sizeText(quota) }),
        ...(reserve === undefined ? {} : { reserve: `${Math.round(reserve * 100)}%` }),
      }),
    ),
    classes: config.classes.map(({ name, limits, ...rest }) =>
      ruleText(name, limits === undefined ? rest : { ...rest, limits: limitsText(limits) }),
    ),
    limits: config.limits.map((limit) => limitsText([limit])),
    accounts: config.accounts.map(({ name, credentials }) => ruleText(name, { credentials })),
    pathMasks: config.pathMasks,
    queryMasks: config.queryMasks,
    rateHeaders: config.rateHeaders.map(({ header, ...rest }) => ruleText(header, { ...rest })),
    credentials: config.credentials.map(({ hash, name }) => `${hash} ${name}`),
  } satisfies Record<keyof Lists, readonly string[]>;
  return (
    [
      'callers',
      'classes',
      'limits',
      'accounts',
      'pathMasks',
      'queryMasks',
      'rateHeaders',
      'credentials',
    ] as const
  ).map((variable) => ({
    variable,
    value: texts[variable].join(', '),
    source: sourceOfList(
      inFile[variable],
      fromPreset[variable],
      // The classes and limits of a file replace the preset's.
      variable === 'classes' || variable === 'limits',
    ),
  }));
}

function sourceOfList(
  inFile: readonly unknown[] | undefined,
  fromPreset: readonly unknown[],
  replaces: boolean,
): SettingSource {
  const isInFile = inFile !== undefined && (replaces || inFile.length > 0);
  const isInPreset = fromPreset.length > 0 && !(replaces && isInFile);
  if (isInFile) return isInPreset ? 'file and preset' : 'file';
  return isInPreset ? 'preset' : 'nobody';
}

function limitsText(limits: readonly LimitRule[]): string {
  const texts = limits.map((rule) => {
    const { name, limit: _, periodMs: __, scope: ___, ...rest } = rule;
    return ruleText(name === undefined ? sizeText(rule) : `${name} ${sizeText(rule)}`, rest);
  });
  return texts.join(' and ');
}

function ruleText(name: string, fields: Readonly<Record<string, unknown>>): string {
  const words = Object.entries(fields).map(([key, value]) => {
    if (key === 'maxWaitMs') return `maxWait: ${String(value)}ms`;
    if (Array.isArray(value)) return `${key}: ${value.join(' ')}`;
    return `${key}: ${typeof value === 'string' ? value : JSON.stringify(value)}`;
  });
  return words.length === 0 ? name : `${name} (${words.join('; ')})`;
}
