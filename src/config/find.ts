import { readConfigFile, type ConfigFile } from './file.ts';
import type { Setting } from './settings.ts';

/** Where a setting's value came from. */
export type Source = 'environment' | 'file' | 'preset' | 'default' | 'nobody';

/** What somebody wrote for a setting, and where. */
export interface Found {
  readonly text: string | undefined;
  readonly source: Source;
  /** What a problem with it is filed under. */
  readonly place: string;
}

/** Looks a setting up: the environment goes before the file, the preset, and the default. */
export function find(
  { variable, fallback }: Setting<unknown>,
  env: Readonly<Record<string, string | undefined>>,
  file: ConfigFile | undefined,
  fromPreset: string | undefined,
): Found {
  const inEnvironment = presentValue(env[variable]);
  if (inEnvironment !== undefined) {
    return { text: inEnvironment, source: 'environment', place: variable };
  }
  const inFile = file?.settings.get(variable);
  if (inFile !== undefined) return { text: inFile.text, source: 'file', place: inFile.place };
  if (fromPreset !== undefined) return { text: fromPreset, source: 'preset', place: variable };
  return { text: fallback, source: fallback === undefined ? 'nobody' : 'default', place: variable };
}

/** An empty variable is an unset one: it is how compose files and shells leave things out. */
export function presentValue(value: string | undefined): string | undefined {
  return value === '' ? undefined : value;
}

/** Reads the file; that there is none is a problem like all others. */
export function openConfigFile(path: string, readFile: (path: string) => string): ConfigFile {
  try {
    return readConfigFile(path, readFile(path));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return {
      settings: new Map(),
      lists: {},
      problems: [`${path}: expected a readable file, got: ${why}`],
    };
  }
}

/** Characters of a wrong value that a problem shows. */
const MOST_SHOWN = 200;

/** A value as problems show it: on one line, without the credentials that a URL may hold. */
export function quoted(text: string): string {
  const shown = text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN)}…` : text;
  return JSON.stringify(shown.replaceAll(/\/\/[^/?#]*@/g, '//(secret)@'));
}
