/** The answer of a route to a call that was not refused. */
export interface RouteAnswer {
  readonly status: number;
  readonly body: unknown;
}

export interface RouteRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly body: string;
  /** The API's own origin, for absolute links. */
  readonly origin: string;
}

interface Item {
  readonly id: number;
  readonly name: string;
  readonly [field: string]: unknown;
}

const SCHEMA_VERSION = 3;
const MOST_ITEMS = 1000;
const COLLECTIONS = ['domains', 'edge_applications', 'digital_certificates'];
const PURGES = new Set(['url', 'cachekey', 'wildcard']);

/** The documented resources, in memory: collections with pages and order, tokens, variables, purge. */
export function makeRoutes(): (request: RouteRequest) => RouteAnswer {
  const collections = new Map(COLLECTIONS.map((name) => [name, makeItems(name)]));
  let lastId = 1000;

  return function route(request) {
    const { method, path } = request;
    const [first = '', second] = path.split('/').filter((part) => part !== '');
    if (first === 'tokens') return tokens(method, second);
    if (first === 'purge') return purge(method, second, request.body);
    if (first === 'variables') {
      return method === 'GET' ? ok([{ uuid: 'a', key: 'K', value: 'V' }]) : notAllowed(method);
    }
    const items = collections.get(first);
    if (items === undefined) return { status: 404, body: { detail: 'Not found.' } };
    return second === undefined
      ? collection(items, request)
      : single(items, Number(second), request);
  };

  function collection(items: Item[], request: RouteRequest): RouteAnswer {
    if (request.method === 'GET' || request.method === 'HEAD') return list(items, request);
    if (request.method !== 'POST') return notAllowed(request.method);
    const fields = parse(request.body);
    const name = fields?.['name'];
    if (typeof name !== 'string') return { status: 400, body: { errors: ['name is required'] } };
    if (items.some((item) => item.name === name)) {
      return { status: 409, body: { name_already_in_use: `${name} is already in use` } };
    }
    const item: Item = { ...fields, id: ++lastId, name };
    items.push(item);
    if (items.length > MOST_ITEMS) items.shift();
    return { status: 201, body: { results: item, schema_version: SCHEMA_VERSION } };
  }

  function single(items: Item[], id: number, { method, body }: RouteRequest): RouteAnswer {
    const at = items.findIndex((item) => item.id === id);
    const item = items[at];
    if (item === undefined) return { status: 404, body: { detail: 'Not found.' } };
    if (method === 'GET' || method === 'HEAD') {
      return ok({ results: item, schema_version: SCHEMA_VERSION });
    }
    if (method === 'DELETE') {
      items.splice(at, 1);
      return { status: 204, body: undefined };
    }
    if (method !== 'PUT' && method !== 'PATCH') return notAllowed(method);
    const fields = parse(body);
    if (fields === undefined) return { status: 400, body: { detail: 'JSON parse error' } };
    const changed: Item = { ...(method === 'PATCH' ? item : {}), name: item.name, ...fields, id };
    items[at] = changed;
    return ok({ results: changed, schema_version: SCHEMA_VERSION });
  }
}

function list(items: readonly Item[], { path, query, origin }: RouteRequest): RouteAnswer {
  const page = Number(query.get('page') ?? 1);
  const size = Number(query.get('page_size') ?? 10);
  if (!(page >= 1 && size >= 1 && size <= 1000)) {
    return { status: 400, body: { detail: 'Invalid page.' } };
  }
  const orderBy = query.get('order_by') ?? 'id';
  const sign = query.get('sort') === 'desc' ? -1 : 1;
  const ordered = items.toSorted((a, b) => sign * compare(a[orderBy], b[orderBy]));
  const pages = Math.max(1, Math.ceil(items.length / size));
  const link = (to: number): string | null => {
    if (to < 1 || to > pages) return null;
    const next = new URLSearchParams(query);
    next.set('page', String(to));
    return `${origin}${path}?${next.toString()}`;
  };
  return ok({
    count: items.length,
    total_pages: pages,
    schema_version: SCHEMA_VERSION,
    links: { previous: link(page - 1), next: link(page + 1) },
    results: ordered.slice((page - 1) * size, page * size),
  });
}

function tokens(method: string, token: string | undefined): RouteAnswer {
  if (method === 'DELETE' && token !== undefined) return { status: 204, body: undefined };
  if (method !== 'POST') return notAllowed(method);
  return {
    status: 201,
    body: {
      token: '2909f3932069047f4736dc87e72baaddd19c9f75',
      created_at: '2019-04-01 13:53:28.536782+00:00',
      expires_at: '2019-04-02 13:53:28.536782+00:00',
    },
  };
}

function purge(method: string, kind: string | undefined, body: string): RouteAnswer {
  if (!PURGES.has(kind ?? '')) return { status: 404, body: { detail: 'Not found.' } };
  if (method !== 'POST') return notAllowed(method);
  const urls = parse(body)?.['urls'];
  if (!Array.isArray(urls)) return { status: 400, body: { detail: 'urls is required' } };
  return {
    status: 207,
    body: [
      { status: 'HTTP/1.1 403 FORBIDDEN', urls: [], details: 'not yours' },
      { status: 'HTTP/1.1 201 CREATED', urls, details: '' },
    ],
  };
}

function ok(body: unknown): RouteAnswer {
  return { status: 200, body };
}

function notAllowed(method: string): RouteAnswer {
  return { status: 405, body: { detail: `Method "${method}" not allowed.` } };
}

function parse(body: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === 'object' && value !== null ? { ...value } : undefined;
  } catch {
    // The route answers a body that is no JSON with a 400.
    return undefined;
  }
}

function compare(a: unknown, b: unknown): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  return String(a).localeCompare(String(b));
}

function makeItems(name: string): Item[] {
  return Array.from({ length: 25 }, (_, i) => ({
    id: i + 1,
    name: `${name}-${String(i + 1).padStart(2, '0')}`,
    is_active: i % 2 === 0,
  }));
}
