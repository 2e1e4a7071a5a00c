import { readFileSync } from 'node:fs';
import { parseAllDocuments } from 'yaml';
import { ROOT } from './spawned.ts';

/** A node of a YAML or JSON document. A path that does not exist throws an error that names it. */
export class Tree {
  readonly value: unknown;
  readonly where: string;

  constructor(value: unknown, where: string) {
    this.value = value;
    this.where = where;
  }

  /** The node under these keys and list positions. */
  get(...path: readonly (string | number)[]): Tree {
    const found = this.maybe(...path);
    if (found === undefined) throw new Error(`${this.where}: expected ${path.join('.')}`);
    return found;
  }

  maybe(...path: readonly (string | number)[]): Tree | undefined {
    let value: unknown = this.value;
    for (const key of path) {
      value =
        typeof value === 'object' && value !== null ? Reflect.get(value, String(key)) : undefined;
    }
    return value === undefined ? undefined : new Tree(value, `${this.where} ${path.join('.')}`);
  }

  items(): Tree[] {
    if (!Array.isArray(this.value)) throw new Error(`${this.where}: expected a list`);
    return this.value.map((item: unknown, i) => new Tree(item, `${this.where}[${i}]`));
  }

  /** The list's item with this `name`. */
  named(name: string): Tree {
    const found = this.items().find((item) => item.maybe('name')?.value === name);
    if (found === undefined) throw new Error(`${this.where}: expected one named ${name}`);
    return found;
  }

  entries(): [string, Tree][] {
    if (typeof this.value !== 'object' || this.value === null) {
      throw new Error(`${this.where}: expected a map`);
    }
    return Object.entries(this.value).map(([key, value]: [string, unknown]) => [
      key,
      new Tree(value, `${this.where} ${key}`),
    ]);
  }

  text(): string {
    if (typeof this.value !== 'string') throw new Error(`${this.where}: expected a text`);
    return this.value;
  }

  number(): number {
    if (typeof this.value !== 'number') throw new Error(`${this.where}: expected a number`);
    return this.value;
  }
}

/** The documents of a YAML file of the project; throws when one does not parse. */
export function readTrees(path: string): Tree[] {
  return parseTrees(readFileSync(`${ROOT}${path}`, 'utf8'), path);
}

/** The documents of a YAML text; errors name `where` it is from. */
export function parseTrees(text: string, where: string): Tree[] {
  const documents = parseAllDocuments(text, { merge: true });
  if (!Array.isArray(documents)) throw new Error(`${where}: expected a document`);
  return documents.map((document) => {
    if (document.errors.length > 0) throw new Error(`${where}: ${document.errors.join('; ')}`);
    return new Tree(document.toJS(), where);
  });
}

/** The only document of a YAML or JSON file. */
export function readTree(path: string): Tree {
  const [only, ...more] = readTrees(path);
  if (only === undefined || more.length > 0) throw new Error(`${path}: expected one document`);
  return only;
}
