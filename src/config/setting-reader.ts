import { isOfOneApi } from './api-settings.ts';
import type { EffectiveSetting, SettingSource } from './effective.ts';
import type { ApiEntry, FileEntries } from './file.ts';
import { fileKey, SETTINGS, type Setting } from './settings.ts';

/** Reads the values of settings for one scope, and collects what is wrong with them. */
export interface SettingReader {
  /** The setting's value; `undefined` when it has none, or when its text is not valid. */
  readonly optional: <T>(setting: Setting<T>, fromPreset?: string) => T | undefined;
  /** For a setting with a default. After a problem it returns the default, to find all problems. */
  readonly required: <T>(setting: Setting<T>, fromPreset?: string) => T;
  /** Whether the setting has a text, valid or not. */
  readonly isSet: (setting: Setting<unknown>) => boolean;
  /** How problems name a setting: its variable, or its line in the file. */
  readonly placeOf: (setting: Setting<unknown>) => string;
}

/** Whose settings are read. */
export type SettingScope =
  | { readonly kind: 'single' }
  /** The gateway's own settings, and the defaults of several APIs. */
  | { readonly kind: 'common' }
  | { readonly kind: 'api'; readonly entry: ApiEntry };

export interface SettingReaderOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly file: FileEntries | undefined;
  readonly scope: SettingScope;
  readonly problems: string[];
  readonly effective: EffectiveSetting[];
  /** The text of each setting, secrets included: to compare, never to print. */
  readonly texts: Map<string, string | undefined>;
}

/** The text of a setting, and where it was found. */
interface FoundText {
  readonly text: string | undefined;
  readonly source: SettingSource;
  readonly place: string;
  /** The name under which it is shown; `undefined`: the common settings have shown it already. */
  readonly shownAs: string | undefined;
}

/**
 * Makes the reader of a scope. The environment takes precedence over the file, the file over the
 * preset, and the preset over the defaults. What an API states for itself takes precedence over the
 * common value.
 */
export function makeSettingReader(options: SettingReaderOptions): SettingReader {
  const { env, file, scope, problems, effective, texts } = options;

  function find(setting: Setting<unknown>, fromPreset?: string): FoundText {
    const { variable, fallback } = setting;
    const ofOneApi = scope.kind !== 'single' && isOfOneApi(setting);
    let shownAs: string | undefined = variable;
    if (scope.kind === 'api') {
      const key = `apis.${scope.entry.name}.${fileKey(variable)}`;
      const own = scope.entry.settings.get(variable);
      if (own !== undefined) return { ...own, source: 'file', shownAs: key };
      shownAs = ofOneApi ? key : undefined;
    }
    if (!ofOneApi) {
      const inEnvironment = presentValue(env[variable]);
      if (inEnvironment !== undefined) {
        return { text: inEnvironment, source: 'environment', place: variable, shownAs };
      }
      const inFile = file?.settings.get(variable);
      if (inFile !== undefined) return { ...inFile, source: 'file', shownAs };
    }
    const place = scope.kind === 'api' ? `${scope.entry.place}.${fileKey(variable)}` : variable;
    if (fromPreset !== undefined) return { text: fromPreset, source: 'preset', place, shownAs };
    const isPreset = variable === SETTINGS.preset.variable;
    const text = ofOneApi && isPreset ? PRESET_OF_SEVERAL : fallback;
    return { text, source: text === undefined ? 'nobody' : 'default', place, shownAs };
  }

  function optional<T>(setting: Setting<T>, fromPreset?: string): T | undefined {
    const { variable, kind, secret } = setting;
    if (scope.kind === 'common' && isOfOneApi(setting)) return refuseCommon(setting);
    const { text, source, place, shownAs } = find(setting, fromPreset);
    if (shownAs !== undefined) {
      const value = secret === true && text !== undefined ? '(secret)' : (text ?? '');
      texts.set(shownAs, text);
      // The settings that an API leaves open would only make the list long.
      if (shownAs === variable || source !== 'nobody') {
        effective.push({ variable: shownAs, value, source });
      }
    }
    if (text === undefined) return undefined;
    const value = kind.parse(text);
    if (value === undefined && shownAs !== undefined) {
      const got = secret === true ? `a value of ${text.length} characters` : quoted(text);
      const problem = kind.problem?.(text) ?? `expected ${kind.expected}, got ${got}`;
      problems.push(`${place}: ${problem}`);
    }
    return value;
  }

  /** A common token would be sent to every API, and a common URL would make them one. */
  function refuseCommon<T>({ variable, kind, fallback }: Setting<T>): T | undefined {
    const place = presentValue(env[variable]) === undefined ? undefined : variable;
    const found = place ?? file?.settings.get(variable)?.place;
    if (found !== undefined) {
      problems.push(
        `${found}: expected it as ${fileKey(variable)} of each API under apis, because it belongs to one API; got one for all`,
      );
    }
    const text = variable === SETTINGS.preset.variable ? PRESET_OF_SEVERAL : fallback;
    return text === undefined ? undefined : kind.parse(text);
  }

  return {
    optional,
    required(setting, fromPreset) {
      const value = optional(setting, fromPreset) ?? setting.kind.parse(setting.fallback ?? '');
      if (value === undefined) throw new Error(`the default of ${setting.variable} is not valid`);
      return value;
    },
    isSet: (setting) => find(setting).text !== undefined,
    placeOf: (setting) =>
      scope.kind === 'api' ? `${scope.entry.place}.${fileKey(setting.variable)}` : setting.variable,
  };
}

/** Of several APIs, each that names no preset is another API than those that presets know. */
const PRESET_OF_SEVERAL = 'none';

/** An empty variable counts as unset, because compose files and shells cannot leave one out. */
export function presentValue(value: string | undefined): string | undefined {
  return value === '' ? undefined : value;
}

/** Characters of a wrong value that a problem shows. */
const MAX_SHOWN = 200;

/** A value as a problem shows it: on one line, without the credentials that a URL may contain. */
function quoted(text: string): string {
  const shown = text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
  return JSON.stringify(shown.replaceAll(/\/\/[^/?#]*@/g, '//(secret)@'));
}
