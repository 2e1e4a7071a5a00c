import type { ClassRule } from '../http/classify.ts';
import type { CallerRule } from '../queue/caller-rules.ts';
import type { RateHeaderRule } from '../rate-headers/declared-headers.ts';
import type { ConfigFile } from './file.ts';
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
  readonly pathMasks: readonly string[];
  readonly queryMasks: readonly string[];
  readonly rateHeaders: readonly RateHeaderRule[];
  readonly credentials: readonly { readonly hash: string; readonly name: string }[];
}

/** HEADGATE_LIMIT is the limit of each class, which its value does not show. Others stay as they are. */
export function sayPerClass(
  setting: EffectiveSetting,
  classes: readonly ClassRule[],
): EffectiveSetting {
  const { variable, value } = setting;
  if (variable !== SETTINGS.limit.variable || value === '' || classes.length === 0) return setting;
  const names = [...new Set(classes.map(({ name }) => name))];
  return { ...setting, value: `${value} for each of ${names.join(', ')}` };
}

/** The lists in force, for people to read: a rule is its fields, in parentheses after its name. */
export function effectiveLists(
  config: Lists,
  inFile: ConfigFile['lists'],
  fromPreset: Lists,
): EffectiveSetting[] {
  const texts = {
    callers: config.callers.map(({ name, ...rest }) => ruleText(name ?? '*', rest)),
    classes: config.classes.map(({ name, ...rest }) => ruleText(name, rest)),
    pathMasks: config.pathMasks,
    queryMasks: config.queryMasks,
    rateHeaders: config.rateHeaders.map(({ header, ...rest }) => ruleText(header, { ...rest })),
    credentials: config.credentials.map(({ hash, name }) => `${hash} ${name}`),
  } satisfies Record<keyof Lists, readonly string[]>;
  return (
    ['callers', 'classes', 'pathMasks', 'queryMasks', 'rateHeaders', 'credentials'] as const
  ).map((variable) => ({
    variable,
    value: texts[variable].join(', '),
    source: sourceOfList(
      inFile[variable],
      fromPreset[variable],
      // The classes of a file replace the preset's.
      variable === 'classes',
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

function ruleText(name: string, fields: Readonly<Record<string, unknown>>): string {
  const words = Object.entries(fields).map(([key, value]) => {
    if (key === 'maxWaitMs') return `maxWait: ${String(value)}ms`;
    if (Array.isArray(value)) return `${key}: ${value.join(' ')}`;
    return `${key}: ${typeof value === 'string' ? value : JSON.stringify(value)}`;
  });
  return words.length === 0 ? name : `${name} (${words.join('; ')})`;
}
