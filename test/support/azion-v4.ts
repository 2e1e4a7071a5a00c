import { Items } from './azion-items.ts';
import {
  parseFields,
  type AzionVersion,
  type RouteAnswer,
  type RouteRequest,
} from './azion-version.ts';

const COLLECTIONS = [
  'workspace/applications',
  'workspace/workloads',
  'workspace/network_lists',
  'edge_application/applications',
  'edge_functions/functions',
  'digital_certificates/certificates',
];
const PURGES = new Set(['url', 'cachekey', 'wildcard']);

/** The codes and titles of errors; that of 429 is documented, the others are like it. */
const ERRORS: Readonly<Record<number, { code: string; title: string }>> = {
  400: { code: '10001', title: 'Invalid' },
  401: { code: '10002', title: 'Not Authenticated' },
  403: { code: '10003', title: 'Permission Denied' },
  404: { code: '10004', title: 'Not Found' },
  405: { code: '10005', title: 'Method Not Allowed' },
  406: { code: '10006', title: 'Not Acceptable' },
  429: { code: '10010', title: 'Throttled' },
};

/**
 * Version 4, below `/v4`: collections with pages, purge and GraphQL. Changes are accepted and not yet
 * done (202, `pending`), errors are those of JSON:API, and no version is expected in Accept.
 */
export function makeAzionV4(): AzionVersion {
  const collections = new Map(COLLECTIONS.map((name) => [name, new Items(name.replace('/', '-'))]));

  function route(request: RouteRequest): RouteAnswer {
    const { method, path, body } = request;
    const [first = '', second = '', third] = path.split('/').filter((part) => part !== '');
    if (first === 'workspace' && second === 'purge') return purge(method, third, body);
    if (second === 'graphql' && (first === 'metrics' || first === 'events')) {
      return method === 'POST' ? { status: 200, body: { data: {} } } : failed(405, method);
    }
    const items = collections.get(`${first}/${second}`);
    if (items === undefined) return failed(404, path);
    return third === undefined ? collection(items, request) : single(items, Number(third), request);
  }

  return {
    classOf(method, path) {
      if (method === 'POST') {
        if (path === '/workspace/purge/wildcard') return 'v4-purge-wildcard';
        if (path.startsWith('/workspace/purge/')) return 'v4-purge';
        if (/^\/(?:metrics|events)\/graphql$/.test(path)) return 'v4-graphql';
      }
      return ['GET', 'HEAD', 'OPTIONS'].includes(method) ? 'v4-read' : 'v4-write';
    },
    accepts: (accept) => accept === '' || /\*\/\*|application\/(?:json|\*)/.test(accept),
    credentialOf: () => 'token',
    errorBody,
    throttledDetail: () => 'Request was throttled.',
    route,
  };
}

function collection(items: Items, { method, query, body }: RouteRequest): RouteAnswer {
  if (method === 'GET' || method === 'HEAD') {
    const ordering = query.get('ordering') ?? 'id';
    const direction = ordering.startsWith('-') ? 'descending' : 'ascending';
    const page = items.page(query, ordering.replace(/^-/, ''), direction);
    if (page === undefined) return failed(400, 'Invalid page.');
    return {
      status: 200,
      body: {
        count: items.count,
        total_pages: page.pages,
        page: page.number,
        page_size: page.size,
        results: page.items,
      },
    };
  }
  if (method !== 'POST') return failed(405, method);
  const created = items.create(parseFields(body));
  if (created.kind !== 'created') return failed(400, `name: ${created.kind}`);
  return pending(created.item);
}

function single(items: Items, id: number, { method, path, body }: RouteRequest): RouteAnswer {
  const item = items.find(id);
  if (item === undefined) return failed(404, path);
  if (method === 'GET' || method === 'HEAD') return { status: 200, body: { data: item } };
  if (method === 'DELETE') {
    items.remove(item);
    return { status: 202, body: { state: 'pending' } };
  }
  if (method !== 'PUT' && method !== 'PATCH') return failed(405, method);
  const fields = parseFields(body);
  return fields === undefined
    ? failed(400, 'JSON parse error')
    : pending(items.change(item, fields, method));
}

function purge(method: string, kind: string | undefined, body: string): RouteAnswer {
  if (!PURGES.has(kind ?? '')) return failed(404, String(kind));
  if (method !== 'POST') return failed(405, method);
  const fields = parseFields(body);
  const items = fields?.['items'];
  if (!Array.isArray(items) || items.length > 50) {
    return failed(400, 'items: expected a list of at most 50');
  }
  return { status: 201, body: { state: 'executed', data: { items, layer: fields?.['layer'] } } };
}

function pending(data: unknown): RouteAnswer {
  return { status: 202, body: { state: 'pending', data } };
}

function failed(status: number, detail: string): RouteAnswer {
  return { status, body: errorBody(status, detail) };
}

function errorBody(status: number, detail: string): unknown {
  const { code, title } = ERRORS[status] ?? { code: '10000', title: 'Error' };
  return { errors: [{ status: String(status), code, title, detail }] };
}
