import { inspect } from 'node:util';
import { isMap, isNode, isScalar, isSeq, type Document } from 'yaml';
import type { z } from 'zod';

/** Checks a list of a file against its schema, and says what is wrong, on which line and in which field. */

/** A file that is still read. */
export interface Reading {
  readonly document: Document;
  readonly problems: string[];
  readonly placeOf: (offset: number | undefined) => string;
}

/** Characters of a wrong value that a problem shows. */
export const MAX_SHOWN = 200;

/** The value of a list or a match; `undefined` after a problem. `name` is its key's, at `place`. */
export function readChecked<T>(
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
export function shownPlace(
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

/** Any value on one line, cut off when it is long. */
export function shownInList(value: unknown): string {
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
