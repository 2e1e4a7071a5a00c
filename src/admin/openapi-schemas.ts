const REPLICA = { type: 'string', description: 'The gateway process that sent the response.' };
const MS = { type: 'number', minimum: 0 };
const COUNT = { type: 'integer', minimum: 0 };
const API = { type: 'string', description: "The API's name; absent where there is one API." };
const LEDGER = {
  enum: ['memory', 'redis', 'local'],
  description:
    'Where the buckets are kept: in this process, in Redis, or `local` while Redis is not available.',
};

const bucket = object(
  {
    id: {
      type: 'string',
      description:
        "Hash of the credential, and the class's name; for a quota, `quota` and the caller's name. The API's name first, if several.",
    },
    credential: { type: 'string', description: "The operator's name for the credential." },
    class: { type: 'string' },
    name: {
      type: 'string',
      description: 'Its name among the buckets of the class, by the settings or by the API.',
    },
    stated: { const: true, description: 'The settings state a limit of this name.' },
    quota: {
      const: true,
      description:
        'It is the quota of the caller of this name: a limit of the gateway, over all its credentials.',
    },
    learned: object({
      why: {
        enum: ['named', 'limit', 'counts', 'refused'],
        description:
          'How answers showed it: they name the bucket, have another limit, have counts that cannot be of one counter, or refused this route alone.',
      },
      routes: {
        type: 'array',
        items: { type: 'string' },
        description:
          'Routes that spend from it, at most 20; `*` for all without a lesson of their own.',
      },
    }),
    api: API,
    limit: { ...COUNT, description: 'Operations per period, as the API reported.' },
    remaining: { ...COUNT, description: 'Operations left, as the API reported.' },
    resetInMs: { ...MS, description: 'Milliseconds until the budget refills.' },
    blockedForMs: {
      ...MS,
      description: 'Milliseconds until requests may be sent again, after a 429.',
    },
    leases: { ...COUNT, description: 'Requests in flight at the API.' },
    waiting: { ...COUNT, description: 'Tickets that wait for a grant, at all replicas.' },
    waitingHereByCaller: {
      type: 'object',
      additionalProperties: COUNT,
      description:
        'The tickets that wait at this replica, by caller: the busiest 100, the rest as `other`.',
    },
    etaMs: {
      ...MS,
      description: 'Milliseconds until the last waiting ticket can expect its grant.',
    },
    kept: {
      ...COUNT,
      description:
        'How many of the remaining operations are kept for owners that use little, and by shares.',
    },
    oldestWaitMs: {
      ...MS,
      description:
        'Milliseconds since the arrival of the oldest ticket that waits at this replica.',
    },
    paused: { const: true, description: 'An operator has paused its grants, at this replica.' },
  },
  [
    'api',
    'credential',
    'name',
    'stated',
    'quota',
    'learned',
    'limit',
    'remaining',
    'resetInMs',
    'blockedForMs',
    'etaMs',
    'kept',
    'oldestWaitMs',
    'paused',
  ],
);

const call = object(
  {
    sequence: {
      type: 'integer',
      minimum: 1,
      description: 'The number of the call at this replica.',
    },
    time: { type: 'string', format: 'date-time', description: 'When the call ended.' },
    id: { type: 'string' },
    api: API,
    caller: { type: 'string' },
    bucket: { type: 'string' },
    credential: { type: 'string' },
    class: { type: 'string' },
    priority: { enum: ['high', 'normal', 'low'] },
    cost: { ...COUNT, description: 'Operations that it costs, if that is stated and not one.' },
    method: { type: 'string' },
    path: { type: 'string', description: 'With its secret parts masked.' },
    query: { type: 'string' },
    status: { ...COUNT, description: '0 when nothing was sent to the caller.' },
    outcome: { enum: ['answered', 'shed', 'failed', 'aborted'] },
    code: {
      type: 'string',
      description: "The code of one of Headgate's own answers: docs/errors.md.",
    },
    parserError: {
      type: 'string',
      description: "The error of Node's parser for a request that it rejected.",
    },
    attempts: COUNT,
    waitMs: MS,
    waitedFor: { const: 'reserve', description: 'An operation for it was kept for others.' },
    fromReserve: { const: true, description: 'It spent an operation that was kept.' },
    retryMs: MS,
    upstreamMs: MS,
    totalMs: MS,
    bytesIn: COUNT,
    bytesOut: COUNT,
    limit: COUNT,
    remaining: COUNT,
    resetInMs: MS,
    waiting: COUNT,
    patienceMs: MS,
    wouldWaitMs: MS,
    wouldShed: { type: 'string' },
    trace_id: { type: 'string' },
    span_id: { type: 'string' },
  },
  [
    'api',
    'bucket',
    'credential',
    'class',
    'priority',
    'cost',
    'code',
    'parserError',
    'waitedFor',
    'fromReserve',
    'limit',
    'remaining',
    'resetInMs',
    'patienceMs',
    'wouldWaitMs',
    'wouldShed',
    'trace_id',
    'span_id',
  ],
);

/** The schemas of the responses, in JSON Schema 2020-12. */
export const SCHEMAS = {
  Live: object({ status: { const: 'live' }, replica: REPLICA }),
  Ready: object({
    status: { enum: ['ready', 'draining', 'misconfigured'] },
    ledger: LEDGER,
    replica: REPLICA,
  }),
  Bucket: bucket,
  Buckets: object({ replica: REPLICA, buckets: arrayOf('Bucket') }),
  OneBucket: object({ replica: REPLICA, bucket: { $ref: '#/components/schemas/Bucket' } }),
  Call: call,
  Calls: object({
    replica: REPLICA,
    calls: arrayOf('Call'),
    skipped: { ...COUNT, description: 'Matching calls beyond the limit.' },
  }),
  Config: object({
    replica: REPLICA,
    version: { type: 'string' },
    settings: arrayOf('Setting'),
  }),
  Setting: object({
    variable: { type: 'string' },
    value: { type: 'string', description: 'Empty when it is not set, masked when it is secret.' },
    source: {
      enum: ['environment', 'file', 'preset', 'file and preset', 'default', 'nobody'],
    },
  }),
  Error: object({
    error: { type: 'string', description: 'What is wrong, and what was expected.' },
  }),
  Refusal: object({
    error: { type: 'string', description: 'What is wrong, and what was expected.' },
    code: { type: 'string', description: 'The same as in Headgate-Error; its meaning is stable.' },
  }),
} as const;

/** The schema of an object with these properties and no others. All but `optional` are required. */
function object(properties: Readonly<Record<string, object>>, optional: readonly string[] = []) {
  const required = Object.keys(properties).filter((name) => !optional.includes(name));
  return { type: 'object', properties, required, additionalProperties: false };
}

function arrayOf(schema: string) {
  return { type: 'array', items: { $ref: `#/components/schemas/${schema}` } };
}
