const REPLICA = { type: 'string', description: 'Which gateway process answered.' };
const MS = { type: 'number', minimum: 0 };
const COUNT = { type: 'integer', minimum: 0 };
const LEDGER = {
  enum: ['memory', 'redis', 'local'],
  description: 'Where the buckets are kept; `local` while Redis is away.',
};

const bucket = object(
  {
    id: { type: 'string', description: "Hash of the credential, and the class's name." },
    class: { type: 'string' },
    limit: { ...COUNT, description: 'Operations per period, as the API says.' },
    remaining: { ...COUNT, description: 'Operations left, as the API says.' },
    resetInMs: { ...MS, description: 'Until the API gives the budget back.' },
    blockedForMs: { ...MS, description: 'Until anything may go again, after a 429.' },
    leases: { ...COUNT, description: 'Requests at the API that are not answered yet.' },
    waiting: { ...COUNT, description: 'Tickets that wait for a grant.' },
    waitingByCaller: {
      type: 'object',
      additionalProperties: COUNT,
      description: 'The busiest 100 callers, the rest as `other`.',
    },
    etaMs: { ...MS, description: 'Until the last waiting ticket can expect its grant.' },
    paused: { const: true, description: 'An operator holds its grants back, at this replica.' },
  },
  ['limit', 'remaining', 'resetInMs', 'blockedForMs', 'etaMs', 'paused'],
);

const call = object(
  {
    sequence: { type: 'integer', minimum: 1, description: "Counts the replica's calls." },
    time: { type: 'string', format: 'date-time', description: 'When it was over.' },
    id: { type: 'string' },
    caller: { type: 'string' },
    bucket: { type: 'string' },
    class: { type: 'string' },
    priority: { enum: ['high', 'normal', 'low'] },
    method: { type: 'string' },
    path: { type: 'string', description: 'Its secret parts hidden.' },
    query: { type: 'string' },
    status: { ...COUNT, description: '0 when nothing was sent to the caller.' },
    outcome: { enum: ['answered', 'shed', 'failed', 'aborted'] },
    code: { type: 'string', description: 'Of our own answers: docs/errors.md.' },
    attempts: COUNT,
    waitMs: MS,
    upstreamMs: MS,
    totalMs: MS,
    bytesIn: COUNT,
    bytesOut: COUNT,
    limit: COUNT,
    remaining: COUNT,
    resetInMs: MS,
    waiting: COUNT,
  },
  ['bucket', 'class', 'priority', 'code', 'limit', 'remaining', 'resetInMs'],
);

/** What the admin API answers with, as JSON Schema 2020-12. */
export const SCHEMAS = {
  Live: object({ status: { const: 'live' }, replica: REPLICA }),
  Ready: object({ status: { enum: ['ready', 'draining'] }, ledger: LEDGER, replica: REPLICA }),
  Bucket: bucket,
  Buckets: object({ replica: REPLICA, buckets: arrayOf('Bucket') }),
  OneBucket: object({ replica: REPLICA, bucket: { $ref: '#/components/schemas/Bucket' } }),
  Call: call,
  Calls: object({
    replica: REPLICA,
    calls: arrayOf('Call'),
    skipped: { ...COUNT, description: 'Wanted calls beyond the limit.' },
  }),
  Config: object({
    replica: REPLICA,
    version: { type: 'string' },
    settings: arrayOf('Setting'),
  }),
  Setting: object({
    variable: { type: 'string' },
    value: { type: 'string', description: 'Empty when nobody set it, masked when it is secret.' },
    source: { enum: ['environment', 'file', 'preset', 'default', 'nobody'] },
  }),
  Error: object({ error: { type: 'string', description: 'What was wrong, what was expected.' } }),
} as const;

/** An object that has these properties and no others, all but the optional ones always. */
function object(properties: Readonly<Record<string, object>>, optional: readonly string[] = []) {
  const required = Object.keys(properties).filter((name) => !optional.includes(name));
  return { type: 'object', properties, required, additionalProperties: false };
}

function arrayOf(schema: string) {
  return { type: 'array', items: { $ref: `#/components/schemas/${schema}` } };
}
