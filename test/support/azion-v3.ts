import { Items } from './azion-items.ts';
import {
  parseFields,
  type AzionVersion,
  type RouteAnswer,
  type RouteRequest,
} from './azion-version.ts';

const SCHEMA_VERSION = 3;
const COLLECTIONS = ['domains', 'edge_applications', 'digital_certificates', 'intelligent_dns'];
const PURGES = new Set(['url', 'cachekey', 'wildcard']);
const ACCEPTED = /application\/json\s*;\s*version=3/;

/** Version 3: collections with pages and order, DNS records, tokens, variables, purge. */
export function makeAzionV3(): AzionVersion {
  const collections = new Map(COLLECTIONS.map((name) => [name, new Items(name)]));

  function route(request: RouteRequest): RouteAnswer {
    const { method, path } = request;
    const [first = '', second, third] = path.split('/').filter((part) => part !== '');
    if (first === 'tokens') return tokens(method, second);
    if (first === 'purge') return purge(method, second, request.body);
    if (first === 'variables') {
      return method === 'GET' ? ok([{ uuid: 'a', key: 'K', value: 'V' }]) : notAllowed(method);
    }
    const items = collections.get(first);
    if (items === undefined) return notFound();
    if (third !== undefined) return records(items, Number(second), third, method);
    return second === undefined
      ? collection(items, request)
      : single(items, Number(second), request);
  }

  return {
    classOf(method, path) {
      if (method === 'POST' && path === '/purge/wildcard') return 'purge-wildcard';
      if (method === 'POST' && path.startsWith('/purge/')) return 'purge';
      return ['GET', 'HEAD', 'OPTIONS'].includes(method) ? 'read' : 'write';
    },
    accepts: (accept) => ACCEPTED.test(accept),
    credentialOf: (path) => (path.startsWith('/tokens') ? 'basic' : 'token'),
    errorBody: (_status, detail) => ({ detail }),
    throttledDetail: (seconds) =>
      `Request was throttled. Expected available in ${seconds} seconds.`,
    route,
  };
}

function collection(items: Items, request: RouteRequest): RouteAnswer {
  if (request.method === 'GET' || request.method === 'HEAD') return list(items, request);
  if (request.method !== 'POST') return notAllowed(request.method);
  const created = items.create(parseFields(request.body));
  switch (created.kind) {
    case 'nameless':
      return { status: 400, body: { errors: ['name is required'] } };
    case 'name-taken':
      return {
        status: 409,
        body: { name_already_in_use: `${created.name} is already in use` },
      };
    case 'created':
      return {
        status: 201,
        body: { results: created.item, schema_version: SCHEMA_VERSION },
      };
    default:
      return created satisfies never;
  }
}

function single(items: Items, id: number, { method, body }: RouteRequest): RouteAnswer {
  const item = items.find(id);
  if (item === undefined) return notFound();
  if (method === 'GET' || method === 'HEAD') {
    return ok({ results: item, schema_version: SCHEMA_VERSION });
  }
  if (method === 'DELETE') {
    items.remove(item);
    return { status: 204, body: undefined };
  }
  if (method !== 'PUT' && method !== 'PATCH') return notAllowed(method);
  const fields = parseFields(body);
  if (fields === undefined) return { status: 400, body: { detail: 'JSON parse error' } };
  return ok({ results: items.change(item, fields, method), schema_version: SCHEMA_VERSION });
}

function list(items: Items, { path, query, origin }: RouteRequest): RouteAnswer {
  const direction = query.get('sort') === 'desc' ? 'descending' : 'ascending';
  const page = items.page(query, query.get('order_by') ?? 'id', direction);
  if (page === undefined) return { status: 400, body: { detail: 'Invalid page.' } };
  const link = (to: number): string | null => {
    if (to < 1 || to > page.pages) return null;
    const next = new URLSearchParams(query);
    next.set('page', String(to));
    return `${origin}${path}?${next.toString()}`;
  };
  return ok({
    count: items.count,
    total_pages: page.pages,
    schema_version: SCHEMA_VERSION,
    links: { previous: link(page.number - 1), next: link(page.number + 1) },
    results: page.items,
  });
}

/** The records of a DNS zone: one page, whose records are below `results`. */
function records(zones: Items, id: number, name: string, method: string): RouteAnswer {
  const zone = zones.find(id);
  if (zone === undefined || name !== 'records') return notFound();
  if (method !== 'GET' && method !== 'HEAD') return notAllowed(method);
  const answers_list = [`192.0.2.${id}`];
  const record = { record_id: id, record_type: 'A', entry: 'www', ttl: 60, answers_list };
  return ok({
    count: 1,
    total_pages: 1,
    schema_version: SCHEMA_VERSION,
    links: { previous: null, next: null },
    results: { zone_id: id, domain: zone.name, records: [{ ...record, policy: 'simple' }] },
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
  if (!PURGES.has(kind ?? '')) return notFound();
  if (method !== 'POST') return notAllowed(method);
  const urls = parseFields(body)?.['urls'];
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

function notFound(): RouteAnswer {
  return { status: 404, body: { detail: 'Not found.' } };
}

function notAllowed(method: string): RouteAnswer {
  return { status: 405, body: { detail: `Method "${method}" not allowed.` } };
}
