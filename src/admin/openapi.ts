import { SCHEMAS } from './openapi-schemas.ts';

type Json = Readonly<Record<string, unknown>>;

const BUCKET_ID = {
  name: 'id',
  in: 'path',
  required: true,
  description: "The bucket's id, as `/buckets` lists it.",
  schema: { type: 'string' },
};

const CALL_FILTER = [
  filter('caller', 'A part of the name of the caller, case-insensitive.'),
  filter('path', 'A part of the path.'),
  filter('status', 'A status such as `404`, or a class such as `4xx`.'),
  filter('outcome', '`answered`, `shed`, `failed` or `aborted`.'),
  filter(
    'minWait',
    'Only calls that waited at least this long: seconds, or a duration such as `2s`.',
  ),
  filter('id', 'The request id of the call, or its beginning.'),
];

const LIMIT = filter('limit', 'The most calls in the response, up to 1000.');
const TOKEN = [{ bearer: [] }, { basic: [] }];
const TOKEN_WHERE_NEEDED = [{}, ...TOKEN];

const READY = {
  200: ok('Ready'),
  503: answer('The replica drains, or Redis refuses it: send calls to another one.', 'Ready'),
};

/** The description of the admin API, in OpenAPI 3.1: exactly its routes. */
export function openApi(version: string): Json {
  return {
    openapi: '3.1.0',
    info: {
      title: 'Headgate admin API',
      version,
      description:
        'The state of one replica, for operators, orchestrators and scrapers. Health and metrics ' +
        'need no token. Other reads need HEADGATE_ADMIN_TOKEN beyond loopback, or when it is set. ' +
        'Changes always need it.',
    },
    paths: {
      '/': {
        get: page('The live page', 'text/html'),
        options: healthOf('Whether this replica should receive calls', READY),
      },
      '/page/{file}': {
        get: {
          ...page('A file of the live page', '*/*'),
          parameters: [{ ...BUCKET_ID, name: 'file', description: "The file's name." }],
        },
      },
      '/health/live': health('Whether the process is alive', { 200: ok('Live') }),
      '/health/ready': health('Whether this replica should receive calls', READY),
      '/livez': health('The same as `/health/live`', { 200: ok('Live') }),
      '/readyz': health('The same as `/health/ready`', READY),
      '/metrics': {
        get: {
          summary: 'Metrics for Prometheus',
          description: 'OpenMetrics if the request accepts `application/openmetrics-text`.',
          responses: {
            200: {
              description: 'All metrics; docs/metrics.md lists them.',
              content: {
                'text/plain': { schema: { type: 'string' } },
                'application/openmetrics-text': { schema: { type: 'string' } },
              },
            },
            403: REFUSALS[403],
          },
        },
      },
      '/buckets': { get: guarded('All buckets', { 200: ok('Buckets') }) },
      '/buckets/{id}': {
        get: {
          ...guarded('One bucket', {
            200: ok('OneBucket'),
            404: error('There is no such bucket.'),
          }),
          parameters: [BUCKET_ID],
        },
      },
      '/buckets/{id}/pause': {
        post: change('Pause its grants, at this replica', 'Waiting tickets continue to wait.'),
      },
      '/buckets/{id}/resume': {
        post: change(
          'Resume its grants',
          'Waiting tickets that the budget allows are granted at once.',
        ),
      },
      '/calls': {
        get: {
          ...guarded('The last calls, newest first', {
            200: ok('Calls'),
          }),
          parameters: [...CALL_FILTER, LIMIT],
        },
      },
      '/events': {
        get: {
          ...guarded('Calls and buckets as they change, as server-sent events', {
            200: {
              description:
                'A `snapshot` event first, then one `tick` event per second. If there are many ' +
                'calls, an event has the newest ones and the number of the others.',
              content: { 'text/event-stream': { schema: { type: 'string' } } },
            },
            503: error('The limit of watchers is reached.'),
          }),
          parameters: CALL_FILTER,
        },
      },
      '/config': { get: guarded('The settings in force, secrets masked', { 200: ok('Config') }) },
      '/openapi.json': {
        get: guarded('This document', {
          200: {
            description: 'OpenAPI 3.1.',
            content: { 'application/json': { schema: { type: 'object' } } },
          },
        }),
      },
    },
    components: {
      schemas: SCHEMAS,
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', description: 'HEADGATE_ADMIN_TOKEN' },
        basic: { type: 'http', scheme: 'basic', description: 'The token as the password' },
      },
    },
  };
}

function filter(name: string, description: string): Json {
  return { name, in: 'query', required: false, description, schema: { type: 'string' } };
}

function answer(description: string, schema: keyof typeof SCHEMAS): Json {
  const content = { 'application/json': { schema: { $ref: `#/components/schemas/${schema}` } } };
  return { description, content };
}

function ok(schema: keyof typeof SCHEMAS): Json {
  return answer('The response.', schema);
}

function error(description: string): Json {
  return answer(description, 'Error');
}

/** OPTIONS is for load balancers whose health check sends it. */
function health(summary: string, responses: Json): Json {
  const operation = healthOf(summary, responses);
  return { get: operation, options: operation };
}

function healthOf(summary: string, responses: Json): Json {
  return { summary, responses: { ...responses, 403: REFUSALS[403] } };
}

/** A read that needs no token on a loopback listener without a configured token. */
function guarded(summary: string, responses: Json): Json {
  const badQuery = error('The query has an unknown parameter or a wrong value.');
  return {
    summary,
    security: TOKEN_WHERE_NEEDED,
    responses: { 400: badQuery, ...responses, ...REFUSALS },
  };
}

function change(summary: string, description: string): Json {
  return {
    summary,
    description,
    security: TOKEN,
    parameters: [BUCKET_ID],
    responses: { 200: ok('OneBucket'), 404: error('There is no such bucket.'), ...REFUSALS },
  };
}

function page(summary: string, type: string): Json {
  const content = { [type]: { schema: { type: 'string' } } };
  return guarded(summary, { 200: { description: 'The file.', content } });
}

const REFUSALS = {
  401: answer('The token is missing or wrong.', 'Refusal'),
  403: answer('The request comes from another site or host, or no token is set.', 'Refusal'),
  429: answer('The token is wrong, as were many others from this address.', 'Refusal'),
};
