import { callerKeys } from './caller-keys.ts';
import { redisUrl } from './redis-url.ts';
import * as kinds from './values.ts';
import type { Kind } from './values.ts';

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

/** One setting: its name, what it may be, what it is when nobody says, and what it does. */
export interface Setting<T> {
  /** The environment variable; the file's key is its camel case without the prefix. */
  readonly variable: string;
  readonly kind: Kind<T>;
  /** As somebody would write it; absent when there is none, or when the preset has one. */
  readonly fallback?: string;
  /** Its value must not be shown. */
  readonly secret?: true;
  /** What the README says of it. */
  readonly doc: string;
}

function setting<T>(
  variable: string,
  kind: Kind<T>,
  fallback: string | undefined,
  doc: string,
  { secret = false } = {},
): Setting<T> {
  return {
    variable,
    kind,
    doc,
    ...(fallback === undefined ? {} : { fallback }),
    ...(secret ? { secret: true } : {}),
  };
}

/** Every setting there is, and the only place to add one. */
export const SETTINGS = {
  preset: setting(
    'HEADGATE_PRESET',
    kinds.choice('azion', 'none'),
    'azion',
    'What is known of the API: base URL, version, classes, path masks, caller rules; `none` for another API.',
  ),
  upstreamUrl: setting(
    'HEADGATE_UPSTREAM_URL',
    kinds.url,
    undefined,
    "The API's address; may carry a base path. Default: the preset's.",
  ),
  listen: setting(
    'HEADGATE_LISTEN',
    kinds.address,
    '127.0.0.1:8080',
    'Where callers connect: `host:port`, `[::]:port`; port 0 picks one and logs it.',
  ),
  adminListen: setting(
    'HEADGATE_ADMIN_LISTEN',
    kinds.orOff(kinds.address),
    '127.0.0.1:8081',
    'Where operators connect, or `off`.',
  ),
  apiVersion: setting(
    'HEADGATE_API_VERSION',
    kinds.orOff(kinds.version),
    undefined,
    "The version put into Accept, or `off`. Default: the preset's (azion: 3).",
  ),
  token: setting(
    'HEADGATE_TOKEN',
    kinds.token,
    undefined,
    'Sent as `Authorization: token …` when the caller sends no credential.',
    { secret: true },
  ),
  tokenFile: setting(
    'HEADGATE_TOKEN_FILE',
    kinds.text,
    undefined,
    'A file that holds the token instead; re-read when it changes.',
  ),
  budgetPer: setting(
    'HEADGATE_BUDGET_PER',
    kinds.choice('credential', 'upstream'),
    'credential',
    '`upstream`: one budget for all credentials, where limits are per account.',
  ),
  limit: setting(
    'HEADGATE_LIMIT',
    kinds.limit,
    undefined,
    'What to believe of an API that sends no rate headers, such as `200/1m`.',
  ),
  maxWait: setting(
    'HEADGATE_MAX_WAIT',
    kinds.duration(),
    '2m',
    'The longest time from arrival to the last attempt.',
  ),
  maxQueue: setting(
    'HEADGATE_MAX_QUEUE',
    kinds.integer(1, 1_000_000),
    '10000',
    'Waiting tickets per bucket.',
  ),
  shedStatus: setting(
    'HEADGATE_SHED_STATUS',
    kinds.shedStatus,
    '503',
    '`503`, or `429` for clients that only understand that.',
  ),
  upstreamTimeout: setting(
    'HEADGATE_UPSTREAM_TIMEOUT',
    kinds.duration({ least: 1 }),
    '60s',
    'To response headers, and between body chunks.',
  ),
  upstreamConnections: setting(
    'HEADGATE_UPSTREAM_CONNECTIONS',
    kinds.integer(1, 10_000),
    '128',
    'Sockets to the API, and so requests in flight.',
  ),
  retries: setting(
    'HEADGATE_RETRIES',
    kinds.integer(0, 10),
    '2',
    'Further attempts after failures; 429s are bounded by the maximum wait instead.',
  ),
  bodyLimit: setting(
    'HEADGATE_BODY_LIMIT',
    kinds.bytes,
    '1MiB',
    'Request bodies up to this are kept and can be sent again; larger ones stream once.',
  ),
  bodyMax: setting(
    'HEADGATE_BODY_MAX',
    kinds.bytes,
    '1GiB',
    'The largest request body; beyond it 413.',
  ),
  bodyMemory: setting(
    'HEADGATE_BODY_MEMORY',
    kinds.bytes,
    '256MiB',
    'All request bodies that are kept, together; when full, the flow that holds most is shed first.',
  ),
  bodyIdleTimeout: setting(
    'HEADGATE_BODY_IDLE_TIMEOUT',
    kinds.duration({ least: 1 }),
    '30s',
    'How long an upload may send nothing while it is read, and an answer may be left unread.',
  ),
  keepAliveTimeout: setting(
    'HEADGATE_KEEPALIVE_TIMEOUT',
    kinds.duration({ least: 1 }),
    '75s',
    "How long a caller's connection may be idle; more than a load balancer in front of it allows.",
  ),
  tlsCert: setting(
    'HEADGATE_TLS_CERT',
    kinds.text,
    undefined,
    'A PEM file with the certificate (and chain) for TLS on HEADGATE_LISTEN; re-read when it changes.',
  ),
  tlsKey: setting('HEADGATE_TLS_KEY', kinds.text, undefined, 'A PEM file with its private key.'),
  upstreamAddress: setting(
    'HEADGATE_UPSTREAM_ADDRESS',
    kinds.dialAddress,
    undefined,
    "Connects there instead of where the API's name points to: `host:port` or a host; Host and SNI stay.",
  ),
  upstreamCa: setting(
    'HEADGATE_UPSTREAM_CA',
    kinds.text,
    undefined,
    'A PEM file with the certificates to trust for the API instead of the usual ones.',
  ),
  via: setting(
    'HEADGATE_VIA',
    kinds.choice('on', 'off'),
    'on',
    'Sends `Via`, and refuses (508) what comes back to us; `off` for APIs that stop compressing when they see it.',
  ),
  rewriteLinks: setting(
    'HEADGATE_REWRITE_LINKS',
    kinds.choice('on', 'off'),
    'on',
    "Leads links to the API (Location, Link, the preset's JSON links) through the gateway; `off` leaves bytes untouched.",
  ),
  laneConcurrency: setting(
    'HEADGATE_LANE_CONCURRENCY',
    kinds.integer(1, 10_000),
    '32',
    "How many of one bucket's requests that waited for the budget are out at once.",
  ),
  laneInterval: setting(
    'HEADGATE_LANE_INTERVAL',
    kinds.duration(),
    '0',
    'Least time between two starts of such requests.',
  ),
  caller: setting(
    'HEADGATE_CALLER',
    kinds.callerName,
    undefined,
    'Name for callers that send none: for a sidecar.',
  ),
  callerKeys: setting(
    'HEADGATE_CALLER_KEYS',
    callerKeys,
    undefined,
    'Known callers, `billing=KEY,web=KEY`: they show their key in `Headgate-Key`, everybody else gets a 401.',
    { secret: true },
  ),
  callerKeysFile: setting(
    'HEADGATE_CALLER_KEYS_FILE',
    kinds.text,
    undefined,
    'A file that holds them instead, `billing: KEY` a line; re-read at SIGHUP.',
  ),
  open: setting(
    'HEADGATE_OPEN',
    kinds.yesOrNo,
    'false',
    '`true`: whoever can connect may spend the token, also from other machines and without a key.',
  ),
  hosts: setting(
    'HEADGATE_HOSTS',
    kinds.hostNames,
    undefined,
    'More names that we are reached by, comma-separated. IP addresses, names without a dot and `.svc`, `.cluster.local`, `.internal`, `.localhost` are known.',
  ),
  adminToken: setting(
    'HEADGATE_ADMIN_TOKEN',
    kinds.secret,
    undefined,
    'What operators show, as Bearer or as the password of Basic. Without it only /health and /metrics are open beyond loopback, and nothing can be changed.',
    { secret: true },
  ),
  drainDelay: setting(
    'HEADGATE_DRAIN_DELAY',
    kinds.duration(),
    '5s',
    'How long after SIGTERM it still accepts, while load balancers learn that it is not ready; 0 in a sidecar.',
  ),
  drainTimeout: setting(
    'HEADGATE_DRAIN_TIMEOUT',
    kinds.duration(),
    '30s',
    'How long what is in flight may take after that.',
  ),
  redisUrl: setting(
    'HEADGATE_REDIS_URL',
    redisUrl,
    undefined,
    'Where all replicas share their budgets and queues; unset: each process keeps its own. `redis://`, `rediss://`, `redis+sentinel://host,host/master`, `redis+cluster://host,host`.',
    { secret: true },
  ),
  redisPrefix: setting(
    'HEADGATE_REDIS_PREFIX',
    kinds.keyPrefix,
    'headgate',
    'What the names of its keys and channels start with.',
  ),
  redisTimeout: setting(
    'HEADGATE_REDIS_TIMEOUT',
    kinds.duration({ least: 1 }),
    '100ms',
    'A slower answer counts as an outage, during which each replica spends its share alone.',
  ),
  redisAuthFile: setting(
    'HEADGATE_REDIS_AUTH_FILE',
    kinds.text,
    undefined,
    'A file that holds `user:password` or a password, in place of those in the URL.',
  ),
  redisCa: setting(
    'HEADGATE_REDIS_CA',
    kinds.text,
    undefined,
    'A PEM file of the certificates to trust in place of the public ones.',
  ),
  redisCert: setting(
    'HEADGATE_REDIS_CERT',
    kinds.text,
    undefined,
    'A PEM file of the certificate to show to Redis.',
  ),
  redisKey: setting(
    'HEADGATE_REDIS_KEY',
    kinds.text,
    undefined,
    'A PEM file of the key of that certificate.',
  ),
  secret: setting(
    'HEADGATE_SECRET',
    kinds.secret,
    undefined,
    'Key of the hashes that name credentials in logs and in Redis; the same for all replicas. Unset: they agree on one through Redis.',
    { secret: true },
  ),
  secretFile: setting(
    'HEADGATE_SECRET_FILE',
    kinds.text,
    undefined,
    'A file that holds that key instead.',
  ),
  logLevel: setting(
    'HEADGATE_LOG_LEVEL',
    kinds.choice('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'),
    'info',
    'Call lines are `info`, 429s of the API `warn`.',
  ),
} as const;

/** A setting's name in a file: `maxWait` for `HEADGATE_MAX_WAIT`. */
export function fileKey(variable: string): string {
  const words = variable.replace('HEADGATE_', '').toLowerCase();
  return words.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** The settings table, in Markdown, as the README shows it. */
export function settingsTable(): string {
  const rows = Object.values(SETTINGS).map(({ variable, fallback, doc }) => {
    return `| \`${variable}\` | ${fallback === undefined ? '–' : `\`${fallback}\``} | ${doc} |`;
  });
  return ['| setting | default | what it does |', '| --- | --- | --- |', ...rows].join('\n');
}
