import { inspect } from 'node:util';
import { isMap, isNode, isScalar, isSeq, LineCounter, parseDocument, type Document } from 'yaml';
import type { z } from 'zod';
import { LISTS, type ListKey } from './lists.ts';
import { nearestWord } from './nearest-word.ts';
import { fileKey, SETTINGS, type Setting } from './settings.ts';

/** A configuration file's contents: the lists are parsed, the settings are still texts. */
export interface ConfigFile {
  /** By variable: the text of a setting, and its place, such as `headgate.yaml:12: maxWait`. */
  readonly settings: ReadonlyMap<string, { readonly text: string; readonly place: string }>;
  readonly lists: { readonly [Key in ListKey]?: z.output<(typeof LISTS)[Key]> };
  readonly problems: readonly string[];
}

const SETTING_BY_KEY: ReadonlyMap<string, Setting<unknown>> = new Map(
  Object.values(SETTINGS).map((setting) => [fileKey(setting.variable), setting]),
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
      problems: [`${path}: expected a readable file, got: ${reason}`],
    };
  }
}

/** Reads a YAML configuration. `name` stands for the file in the problems. */
function readConfigFile(name: string, text: string): ConfigFile {
  const settings = new Map<string, { text: string; place: string }>();
  const lists: Record<string, unknown> = {};
  const problems: string[] = [];
  const result = { settings, lists, problems };
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
  for (const { key, value } of document.contents.items) {
    if (!isScalar(key)) {
      const place = placeOf(isNode(key) ? key.range?.[0] : undefined);
      problems.push(`${place}: expected the name of a setting, got a list or a map`);
      continue;
    }
    const keyName = String(key.value);
    const place = placeOf(key.range?.[0]);
    const setting = SETTING_BY_KEY.get(keyName);
    if (isListKey(keyName)) {
      problems.push(...readList(document, keyName, placeOf, lists));
    } else if (setting === undefined) {
      const spelling = keyName.startsWith('HEADGATE_') ? fileKey(keyName) : keyName;
      const suggestion = nearestWord(spelling, [...SETTING_BY_KEY.keys(), ...Object.keys(LISTS)]);
      const hint = suggestion === undefined ? '' : `; did you mean ${suggestion}?`;
      const shown = /^[\w.-]{1,64}$/.test(keyName)
        ? keyName
        : JSON.stringify(keyName.slice(0, MAX_SHOWN));
      problems.push(`${place}: ${shown}: expected a known setting, got an unknown one${hint}`);
    } else if (!isScalar(value) || value.value === null) {
      const got = value === null || isScalar(value) ? 'nothing' : 'a list or a map';
      problems.push(`${place}: ${keyName}: expected ${setting.kind.expected}, got ${got}`);
    } else {
      // The text in the file, not the parsed value: a token of digits is a text, and 1.10 is not 1.1.
      const text = value.source ?? JSON.stringify(value.value);
      settings.set(setting.variable, { text, place: `${place}: ${keyName}` });
    }
  }
  return result;
}

function readList(
  document: Document,
  key: ListKey,
  placeOf: (offset: number | undefined) => string,
  into: Record<string, unknown>,
): string[] {
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 })[key];
  } catch (error) {
    const reason = error instanceof Error ? error.message : 'unreadable';
    return [`${placeOf(offsetOf(document, [key]))}: ${key}: ${reason}`];
  }
  const parsed = LISTS[key].safeParse(value);
  if (parsed.success) {
    into[key] = parsed.data;
    return [];
  }
  return parsed.error.issues.map((issue) => {
    const where = issue.path
      .map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`))
      .join('');
    const got = issue.code === 'unrecognized_keys' ? issue.keys : valueAt(value, issue.path);
    const place = placeOf(offsetOf(document, [key, ...issue.path]));
    // A wrong hash may be the token itself.
    const isHash = key === 'credentials' && issue.path.at(-1) === 'hash' && typeof got === 'string';
    const shown = isHash ? `a text of ${got.length} characters` : shownInList(got);
    return `${place}: ${key}${where}: ${issue.message}, got ${shown}`;
  });
}

/** The offset of the innermost node of a path that the text contains: the key of a map's entry. */
function offsetOf(document: Document, path: readonly PropertyKey[]): number | undefined {
  let node: unknown = document.contents;
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

function isListKey(key: string): key is ListKey {
  return Object.hasOwn(LISTS, key);
}
