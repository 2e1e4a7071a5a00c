import { inspect } from 'node:util';
import {
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  type Document,
  type YAMLMap,
} from 'yaml';
import type { z } from 'zod';
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

/** A file that is still read. */
interface Reading {
  readonly document: Document;
  readonly problems: string[];
  readonly placeOf: (offset: number | undefined) => string;
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

/** Characters of a wrong value that a problem shows. */
const MAX_SHOWN = 200;

/** Opens and reads a YAML configuration. A file that cannot be opened is reported as a problem. */
export function openConfigFile(path: string, readFile: (path: string) => string): ConfigFile {
  try {
    return readConfigFile(path, readFile(path));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
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

/** The value of a list or a match; `undefined` after a problem. `name` is its key's, at `place`. */
function readChecked<T>(
  { document, problems, placeOf }: Reading,
  schema: z.ZodType<T>,
  node: unknown,
  place: string,
  name: string,
): T | undefined {
  let value: unknown;
  try {
    value = isNode(node) ? node.toJS(document, { maxAliasCount: 100 }) : node;
  } catch (error) {
    problems.push(`${place}: ${name}: ${error instanceof Error ? error.message : 'unreadable'}`);
    return undefined;
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  for (const issue of parsed.error.issues.flatMap(ofMeantAlternative)) {
    const got = issue.code === 'unrecognized_keys' ? issue.keys : valueAt(value, issue.path);
    const isSecret = isListOfHashes(name) && issue.path.at(-1) !== 'name';
    const shown =
      isSecret && issue.code !== 'unrecognized_keys' ? shownHash(got) : shownInList(got);
    const where = shownPlace({ placeOf }, node, place, name, issue.path);
    problems.push(`${where}: ${issue.message}, got ${shown}`);
  }
  return undefined;
}

/** How problems name a place in a list or a match. */
function shownPlace(
  { placeOf }: Pick<Reading, 'placeOf'>,
  node: unknown,
  place: string,
  name: string,
  path: readonly PropertyKey[],
): string {
  const where = path
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`))
    .join('');
  const offset = offsetOf(node, path);
  return `${offset === undefined ? place : placeOf(offset)}: ${name}${where}`;
}

/** Of a value that may have several forms, the problems of the one form whose kind of value it has. */
function ofMeantAlternative(issue: z.core.$ZodIssue): z.core.$ZodIssue[] {
  if (issue.code !== 'invalid_union') return [issue];
  const isOfItsKind = ({ path, code }: z.core.$ZodIssue): boolean =>
    path.length > 0 || code === 'unrecognized_keys';
  const [meant, ...others] = issue.errors.filter((alternative) => alternative.every(isOfItsKind));
  if (meant === undefined || others.length > 0) return [issue];
  return meant.flatMap((inner) =>
    ofMeantAlternative({ ...inner, path: [...issue.path, ...inner.path] }),
  );
}

/** The offset of the innermost node of a path that the text contains: the key of a map's entry. */
function offsetOf(start: unknown, path: readonly PropertyKey[]): number | undefined {
  let node = start;
  let offset: number | undefined;
  for (const part of path) {
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && key.value === part);
      if (pair === undefined) break;
      offset = isNode(pair.key) ? pair.key.range?.[0] : offset;
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(part)];
      offset = isNode(node) ? (node.range?.[0] ?? offset) : offset;
    } else break;
  }
  return offset;
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let at = value;
  for (const part of path) {
    at = typeof at === 'object' && at !== null ? Reflect.get(at, part) : undefined;
  }
  return at;
}

/** The parser adds the place, which we show already, and advice for programmers only. */
function firstSentence(message: string): string {
  const [line = ''] = message.split('\n', 1);
  return line.replace(/(?:; please use .*)? at line \d+, column \d+:?$/, '');
}

function shownKey(key: string): string {
  return /^[\w.-]{1,64}$/.test(key) ? key : JSON.stringify(key.slice(0, MAX_SHOWN));
}

/** Any value on one line, cut off when it is long. */
function shownInList(value: unknown): string {
  if (value === undefined || value === null) return 'nothing';
  if (Array.isArray(value) && value.length === 0) return 'an empty list';
  const text =
    typeof value === 'string'
      ? JSON.stringify(value)
      : inspect(value, { breakLength: Infinity, compact: true, depth: 2 });
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}

/** A value where a hash was expected; anything else may be the credential itself. */
function shownHash(value: unknown): string {
  if (typeof value === 'string' && !/^[0-9a-f]{16}$/.test(value)) {
    return `a text of ${value.length} characters`;
  }
  if (typeof value === 'number') return 'a number, which is a hash only in quotes';
  if (Array.isArray(value) && value.length > 0) return 'a list';
  return typeof value === 'object' && !Array.isArray(value) ? 'a map' : shownInList(value);
}

function isListOfHashes(name: string): boolean {
  return /(?:^|\.)(?:credentials|accounts)$/.test(name);
}

function isListKey(key: string): key is ListKey {
  return Object.hasOwn(LISTS, key);
}
