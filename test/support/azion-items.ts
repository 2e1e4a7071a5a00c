export interface Item {
  readonly id: number;
  readonly name: string;
  readonly [field: string]: unknown;
}

export interface Page {
  readonly number: number;
  readonly size: number;
  readonly pages: number;
  readonly items: readonly Item[];
}

export type Created =
  | { readonly kind: 'created'; readonly item: Item }
  | { readonly kind: 'nameless' }
  | { readonly kind: 'name-taken'; readonly name: string };

const MOST_ITEMS = 1000;

/** A collection of the API's simulator in memory, with 25 items at first. */
export class Items {
  readonly #items: Item[];
  #lastId = 1000;

  constructor(name: string) {
    this.#items = Array.from({ length: 25 }, (_, i) => ({
      id: i + 1,
      name: `${name}-${String(i + 1).padStart(2, '0')}`,
      is_active: i % 2 === 0,
    }));
  }

  get count(): number {
    return this.#items.length;
  }

  /** The page that a query asks for, in the order of its field; `undefined` if its figures are none. */
  page(
    query: URLSearchParams,
    orderBy: string,
    direction: 'ascending' | 'descending',
  ): Page | undefined {
    const number = Number(query.get('page') ?? 1);
    const size = Number(query.get('page_size') ?? 10);
    if (!(number >= 1 && size >= 1 && size <= 1000)) return undefined;
    const sign = direction === 'descending' ? -1 : 1;
    const ordered = this.#items.toSorted((a, b) => sign * compare(a[orderBy], b[orderBy]));
    const pages = Math.max(1, Math.ceil(ordered.length / size));
    return { number, size, pages, items: ordered.slice((number - 1) * size, number * size) };
  }

  find(id: number): Item | undefined {
    return this.#items.find((item) => item.id === id);
  }

  create(fields: Readonly<Record<string, unknown>> | undefined): Created {
    const name = fields?.['name'];
    if (typeof name !== 'string') return { kind: 'nameless' };
    if (this.#items.some((item) => item.name === name)) return { kind: 'name-taken', name };
    const item: Item = { ...fields, id: ++this.#lastId, name };
    this.#items.push(item);
    if (this.#items.length > MOST_ITEMS) this.#items.shift();
    return { kind: 'created', item };
  }

  /** Gives an item these fields: alone (`PUT`), or besides those that it has (`PATCH`). */
  change(item: Item, fields: Readonly<Record<string, unknown>>, method: 'PUT' | 'PATCH'): Item {
    const kept = method === 'PATCH' ? item : {};
    const changed: Item = { ...kept, name: item.name, ...fields, id: item.id };
    this.#items[this.#items.indexOf(item)] = changed;
    return changed;
  }

  remove(item: Item): void {
    this.#items.splice(this.#items.indexOf(item), 1);
  }
}

function compare(a: unknown, b: unknown): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  return String(a).localeCompare(String(b));
}
