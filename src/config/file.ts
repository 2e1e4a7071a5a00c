import { isMap, isNode, isScalar, LineCounter, parseDocument, type YAMLMap } from 'yaml';
import type { z } from 'zod';
import { messageOf } from '../util/message-of.ts';
import {
  API_NAME,
  API_NAME_EXPECTED,
  apiMatch,
  EVERY_REQUEST,
  isOfApi,
  MAX_APIS,
  overlapOf,
  type ApiMatch,
} from './api-settings.ts';
import { MAX_SHOWN, readChecked, shownInList, shownPlace, type Reading } from './checked-list.ts';
import { LISTS, type ListKey } from './lists.ts';
import { nearestWord } from './nearest-word.ts';
import { fileKey, SETTINGS, type Setting } from './settings.ts';

/** Settings and lists of a file, or of one API in it: the lists are parsed, the settings are texts. */
export interface FileEntries {
  /** By variable: the text of a setting, and its place, such as `headgate.yaml:12: maxWait`. */
  readonly settings: ReadonlyMap<string, { readonly text: string; readonly place: string }>;
  readonly lists: { readonly [Key in ListKey]?: z.output<(typeof LISTS)[Key]> };
  /** By list: how problems name a place in it, such as `headgate.yaml:12: limits[0].name`. */
  readonly places: ReadonlyMap<string, (path: readonly PropertyKey[]) => string>;
}

/** One of several APIs. */
export interface ApiEntry extends FileEntries {
  readonly name: string;
  readonly match: ApiMatch;
  /** How problems name it: `headgate.yaml:3: apis.github`. */
  readonly place: string;
}

/** A configuration file's contents. */
export interface ConfigFile extends FileEntries {
  /** Empty: the settings describe a single API, which has no name. */
  readonly apis: readonly ApiEntry[];
  readonly problems: readonly string[];
}

interface MutableEntries {
  readonly settings: Map<string, { text: string; place: string }>;
  readonly lists: Record<string, unknown>;
  readonly places: Map<string, (path: readonly PropertyKey[]) => string>;
}

/** What a map of settings may hold besides the lists, and how problems name its keys. */
interface Scope {
  readonly settings: ReadonlyMap<string, Setting<unknown>>;
  /** Further keys; returns whether `key` is one of them. */
  readonly other: (key: string, value: unknown, place: string) => boolean;
  readonly otherKeys: readonly string[];
  /** Stands before each key in problems: `apis.github.`. */
  readonly prefix: string;
}

const SETTING_BY_KEY: ReadonlyMap<string, Setting<unknown>> = new Map(
  Object.values(SETTINGS).map((setting) => [fileKey(setting.variable), setting]),
);
const API_SETTING_BY_KEY: typeof SETTING_BY_KEY = new Map(
  [...SETTING_BY_KEY].filter(([, setting]) => isOfApi(setting)),
);

/** A larger file is rejected; this also bounds what YAML aliases can expand to. */
const MAX_CHARACTERS = 1024 * 1024;

/** Opens and reads a YAML configuration. A file that cannot be opened is reported as a problem. */
export function openConfigFile(path: string, readFile: (path: string) => string): ConfigFile {
  try {
    return readConfigFile(path, readFile(path));
  } catch (error) {
    const reason = messageOf(error);
    return {
      settings: new Map(),
      lists: {},
      places: new Map(),
      apis: [],
      problems: [`${path}: expected a readable file, got: ${reason}`],
    };
  }
}

/** Reads a YAML configuration. `name` stands for the file in the problems. */
function readConfigFile(name: string, text: string): ConfigFile {
  const problems: string[] = [];
  const apis: ApiEntry[] = [];
  const entries: MutableEntries = { settings: new Map(), lists: {}, places: new Map() };
  const result = { ...entries, apis, problems };
  if (text.length > MAX_CHARACTERS) {
    problems.push(`${name}: expected at most 1 MiB of YAML`);
    return result;
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  const placeOf = (offset: number | undefined): string =>
    offset === undefined ? name : `${name}:${lines.linePos(offset).line}`;
  for (const { message, pos } of document.errors) {
    problems.push(`${placeOf(pos[0])}: not valid YAML: ${firstSentence(message)}`);
  }
  if (problems.length > 0 || document.contents === null) return result;
  if (!isMap(document.contents)) {
    problems.push(`${name}: expected settings, one per line, such as "maxWait: 2m"`);
    return result;
  }
  const reading: Reading = { document, problems, placeOf };
  readEntries(reading, document.contents, entries, {
    settings: SETTING_BY_KEY,
    other(key, value, place) {
      if (key === 'apis') apis.push(...readApis(reading, value, place));
      return key === 'apis';
    },
    otherKeys: ['apis'],
    prefix: '',
  });
  return result;
}

function readEntries(reading: Reading, map: YAMLMap, into: MutableEntries, scope: Scope): void {
  const { problems, placeOf } = reading;
  for (const { key, value } of map.items) {
    if (!isScalar(key)) {
      const place = placeOf(isNode(key) ? key.range?.[0] : undefined);
      problems.push(`${place}: expected the name of a setting, got a list or a map`);
      continue;
    }
    const keyName = String(key.value);
    const place = placeOf(key.range?.[0]);
    const setting = scope.settings.get(keyName);
    if (isListKey(keyName)) {
      const schema: z.ZodType = LISTS[keyName];
      const list = readChecked(reading, schema, value, place, scope.prefix + keyName);
      if (list !== undefined) into.lists[keyName] = list;
      into.places.set(keyName, (path) =>
        shownPlace(reading, value, place, scope.prefix + keyName, path),
      );
    } else if (scope.other(keyName, value, place)) {
      // It is read.
    } else if (setting === undefined) {
      problems.push(`${place}: ${scope.prefix}${unknownKey(keyName, scope)}`);
    } else if (!isScalar(value) || value.value === null) {
      const got = value === null || isScalar(value) ? 'nothing' : 'a list or a map';
      problems.push(
        `${place}: ${scope.prefix}${keyName}: expected ${setting.kind.expected}, got ${got}`,
      );
    } else {
      // The text in the file, not the parsed value: a token of digits is a text, and 1.10 is not 1.1.
      const text = value.source ?? JSON.stringify(value.value);
      into.settings.set(setting.variable, { text, place: `${place}: ${scope.prefix}${keyName}` });
    }
  }
}

function unknownKey(keyName: string, { settings, otherKeys, prefix }: Scope): string {
  const shown = shownKey(keyName);
  if (prefix !== '' && SETTING_BY_KEY.has(keyName)) {
    return `${shown}: expected a setting of one API, got one of the whole gateway, which belongs at the top of the file`;
  }
  const spelling = keyName.startsWith('HEADGATE_') ? fileKey(keyName) : keyName;
  const suggestion = nearestWord(spelling, [
    ...settings.keys(),
    ...Object.keys(LISTS),
    ...otherKeys,
  ]);
  const hint = suggestion === undefined ? '' : `; did you mean ${suggestion}?`;
  return `${shown}: expected a known setting, got an unknown one${hint}`;
}

/** Reads the APIs under `apis`, and finds two that match the same requests. */
function readApis(reading: Reading, value: unknown, place: string): ApiEntry[] {
  const { problems, placeOf } = reading;
  if (!isMap(value) || value.items.length === 0) {
    problems.push(
      `${place}: apis: expected a map of APIs by name, such as "github: {preset: none}"`,
    );
    return [];
  }
  if (value.items.length > MAX_APIS) {
    problems.push(`${place}: apis: expected at most ${MAX_APIS} APIs, got ${value.items.length}`);
    return [];
  }
  const before = problems.length;
  const apis: ApiEntry[] = [];
  for (const { key, value: settings } of value.items) {
    const name = isScalar(key) ? String(key.value) : '';
    const line = placeOf(isNode(key) ? key.range?.[0] : undefined);
    if (!API_NAME.test(name)) {
      problems.push(`${line}: apis: expected ${API_NAME_EXPECTED}, got ${shownInList(name)}`);
    } else if (!isMap(settings)) {
      const got = isScalar(settings) ? shownInList(settings.value) : 'a list or nothing';
      problems.push(`${line}: apis.${name}: expected a map of its settings, got ${got}`);
    } else {
      apis.push(readApi(reading, name, settings, `${line}: apis.${name}`));
    }
  }
  // A match that could not be read would seem to be that of every request.
  if (problems.length > before) return apis;
  for (const [at, api] of apis.entries()) {
    for (const earlier of apis.slice(0, at)) {
      const overlap = overlapOf(earlier.match, api.match);
      if (overlap === undefined) continue;
      problems.push(
        `${api.place}.match: expected other requests than apis.${earlier.name}, got the same: ${overlap}`,
      );
    }
  }
  return apis;
}

function readApi(reading: Reading, name: string, map: YAMLMap, apiPlace: string): ApiEntry {
  const entries: MutableEntries = { settings: new Map(), lists: {}, places: new Map() };
  let match = EVERY_REQUEST;
  readEntries(reading, map, entries, {
    settings: API_SETTING_BY_KEY,
    other(key, value, place) {
      if (key !== 'match') return false;
      match = readChecked(reading, apiMatch, value, place, `apis.${name}.match`) ?? match;
      return true;
    },
    otherKeys: ['match'],
    prefix: `apis.${name}.`,
  });
  return { ...entries, name, match, place: apiPlace };
}

/** The parser adds the place, which we show already, and advice for programmers only. */
function firstSentence(message: string): string {
  const [line = ''] = message.split('\n', 1);
  return line.replace(/(?:; please use .*)? at line \d+, column \d+:?$/, '');
}

function shownKey(key: string): string {
  return /^[\w.-]{1,64}$/.test(key) ? key : JSON.stringify(key.slice(0, MAX_SHOWN));
}

function isListKey(key: string): key is ListKey {
  return Object.hasOwn(LISTS, key);
}
