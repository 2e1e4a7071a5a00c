import { PRESETS } from '../presets/presets.ts';
import { LOG_FORMATS, LOG_LEVELS } from '../util/log-settings.ts';
import { callerKeys } from './caller-keys.ts';
import { redisUrl } from './redis-url.ts';
import * as kinds from './values.ts';
import type { Kind } from './values.ts';

/** One setting: its name, its kind of value, its default, and its description. */
export interface Setting<T> {
  /** The environment variable. The file's key is the same in camel case, without the prefix. */
  readonly variable: string;
  readonly kind: Kind<T>;
  /** The text of the default; absent when there is none, or when the preset has it. */
  readonly fallback?: string;
  /** The value must not be shown. */
  readonly secret?: true;
  /** The description in docs/configuration.md. */
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

/** All settings. */
export const SETTINGS = {
  preset: setting(
    'HEADGATE_PRESET',
    kinds.choice(...PRESETS.keys()),
    'azion',
    'The known facts about the API, such as its URL, version and classes: [docs/presets.md](presets.md). `none` for another API.',
  ),
  mode: setting(
    'HEADGATE_MODE',
    kinds.choice('enforce', 'observe'),
    'enforce',
    "`observe`: no request waits for its budget, is shed for it, or is sent again; the API's 429s reach the callers. Budgets and queues are kept as usual, and `wouldWaitMs` and `wouldShed` in the log and the metrics say what `enforce` would have done.",
  ),
  upstreamUrl: setting(
    'HEADGATE_UPSTREAM_URL',
    kinds.url,
    undefined,
    "The URL of the API; may include a base path. Default: the preset's.",
  ),
  listen: setting(
    'HEADGATE_LISTEN',
    kinds.listenAddress,
    '127.0.0.1:8080',
    'The address for callers: `host:port`, `[::]:port`, or a Unix socket such as `unix:/run/headgate.sock`. Port 0 selects a free port, and the log shows it.',
  ),
  adminListen: setting(
    'HEADGATE_ADMIN_LISTEN',
    kinds.orOff(kinds.listenAddress),
    '127.0.0.1:8081',
    'The address for operators (admin listener), in the same forms, or `off`.',
  ),
  apiVersion: setting(
    'HEADGATE_API_VERSION',
    kinds.orOff(kinds.version),
    undefined,
    "The API version that is requested in Accept, or in the preset's header, or `off`. Default: the preset's (azion: 3).",
  ),
  token: setting(
    'HEADGATE_TOKEN',
    kinds.token,
    undefined,
    'The token that is sent in HEADGATE_TOKEN_HEADER when the caller sends no credential.',
    { secret: true },
  ),
  tokenFile: setting(
    'HEADGATE_TOKEN_FILE',
    kinds.text,
    undefined,
    'A file that contains the token; read again when it changes.',
  ),
  tokenCommand: setting(
    'HEADGATE_TOKEN_COMMAND',
    kinds.password,
    undefined,
    'A command that prints the token, run by `/bin/sh -c`: at the start, at SIGHUP, and at most once a minute when the API answers 401 to the token. It has 10 s, and gets no `HEADGATE_*` variables.',
    { secret: true },
  ),
  tokenRefresh: setting(
    'HEADGATE_TOKEN_REFRESH',
    kinds.duration({ min: 60_000 }),
    undefined,
    'How long a token of HEADGATE_TOKEN_COMMAND is used before the command runs again.',
  ),
  tokenBasic: setting(
    'HEADGATE_TOKEN_BASIC',
    kinds.login,
    undefined,
    'A login, `user:password`, with which Headgate fetches the token, where the [preset](presets.md) knows how (azion). The token is renewed after 80 % of its validity. With Redis, one replica fetches it for all.',
    { secret: true },
  ),
  tokenBasicFile: setting(
    'HEADGATE_TOKEN_BASIC_FILE',
    kinds.text,
    undefined,
    'A file that contains this login; read at the start.',
  ),
  tokenHeader: setting(
    'HEADGATE_TOKEN_HEADER',
    kinds.tokenHeader,
    'Authorization token',
    "The header of this token, and the scheme before it, if any: `Authorization Bearer`, `X-Api-Key`. What callers send in this header is a credential. Default: the preset's, else `Authorization token`.",
  ),
  cookies: setting(
    'HEADGATE_COOKIES',
    kinds.choice('off', 'on'),
    'off',
    "`off`: with Headgate's token, `Cookie` is not sent to the API, and `Set-Cookie` is not passed to the caller. `on`: both pass. With a credential of the caller they always pass.",
  ),
  budgetPer: setting(
    'HEADGATE_BUDGET_PER',
    kinds.choice('credential', 'upstream'),
    'credential',
    '`credential`: each credential has its own budget. `upstream`: all credentials share one budget, for limits per account.',
  ),
  limit: setting(
    'HEADGATE_LIMIT',
    kinds.limit,
    undefined,
    'The limit to assume while the API reports none in its headers, such as `200/1m`. It is the limit of each bucket: of each credential, and in it of each class (read, write …). For one limit over all classes, name one class.',
  ),
  learnBuckets: setting(
    'HEADGATE_LEARN_BUCKETS',
    kinds.choice('on', 'off'),
    'on',
    '`on`: learns from answers which routes of a class have a budget of their own. `off`: each class has one bucket per credential, and those that the settings state.',
  ),
  spread: setting(
    'HEADGATE_SPREAD',
    kinds.spread,
    'auto',
    'Which part of each limit is kept for owners that do not wait now, and released evenly until the reset: `auto` (20%), a part such as `10%`, or `off`. Nothing is kept while one owner alone uses a bucket, nor of limits below 5 ([callers.md](callers.md#in-order-and-in-time)).',
  ),
  maxWait: setting(
    'HEADGATE_MAX_WAIT',
    kinds.duration(),
    '2m',
    'The longest time from the arrival of a request to the start of its last attempt.',
  ),
  patience: setting(
    'HEADGATE_PATIENCE',
    kinds.choice('auto', 'off'),
    'auto',
    '`auto`: learns after how long a client gives up, from waiting calls that it abandons at the same age again and again. Its later calls are shed before that, with a Retry-After. `off`: does not.',
  ),
  maxQueue: setting(
    'HEADGATE_MAX_QUEUE',
    kinds.integer(1, 1_000_000),
    '10000',
    'The most requests that wait per bucket.',
  ),
  maxBuckets: setting(
    'HEADGATE_MAX_BUCKETS',
    kinds.integer(1, 1_000_000),
    '10000',
    'The most buckets, each one credential and class. Idle ones are forgotten for new ones. While all are in use, a new one is refused. With Redis, so is a new one after this number of new ones at once, and after that beyond this number per 20 s.',
  ),
  maxBucketsPerOwner: setting(
    'HEADGATE_MAX_BUCKETS_PER_OWNER',
    kinds.integer(1, 1_000_000),
    undefined,
    'The same bounds for the buckets that one caller key, or without keys one address, has created. Default: a twentieth of HEADGATE_MAX_BUCKETS, but at least 100.',
  ),
  maxCalls: setting(
    'HEADGATE_MAX_CALLS',
    kinds.integer(1, 1_000_000),
    '50000',
    'The most calls that have not ended, waiting ones included. One caller (a key, else an address) may have half of them.',
  ),
  maxConnections: setting(
    'HEADGATE_MAX_CONNECTIONS',
    kinds.integer(1, 1_000_000),
    undefined,
    "The most connections of callers; a further one is closed at once. Default: the process's limit of open files less what Headgate needs itself, at most 4000.",
  ),
  maxConnectionsPerAddress: setting(
    'HEADGATE_MAX_CONNECTIONS_PER_ADDRESS',
    kinds.integer(1, 1_000_000),
    undefined,
    'The most of them from one address. Default: half. Those in HEADGATE_TRUSTED_PROXIES do not count.',
  ),
  shedStatus: setting(
    'HEADGATE_SHED_STATUS',
    kinds.shedStatus,
    '503',
    'The status of a shed request: `503`, or `429` for clients that retry only after a 429.',
  ),
  upstreamTimeout: setting(
    'HEADGATE_UPSTREAM_TIMEOUT',
    kinds.duration({ min: 1 }),
    '60s',
    'The time limit for response headers of the API, and between two chunks of its body.',
  ),
  upstreamConnections: setting(
    'HEADGATE_UPSTREAM_CONNECTIONS',
    kinds.integer(1, 10_000),
    '128',
    'The most sockets to the API, and therefore the most requests in flight.',
  ),
  throttleStatuses: setting(
    'HEADGATE_THROTTLE_STATUSES',
    kinds.orOff(kinds.errorStatuses),
    '400,403,418,420,503,529',
    'The statuses besides 429 with which the API may throttle: with a Retry-After, with 0 remaining and a reset, or with a code in the body. `off`: 429 alone.',
  ),
  retries: setting(
    'HEADGATE_RETRIES',
    kinds.integer(0, 10),
    '2',
    'The most retries after failures. Retries after a 429 are limited by HEADGATE_MAX_WAIT instead.',
  ),
  bodyLimit: setting(
    'HEADGATE_BODY_LIMIT',
    kinds.bytes,
    '1MiB',
    'Request bodies up to this size are kept and can be sent again. Larger ones are streamed once.',
  ),
  bodyMax: setting(
    'HEADGATE_BODY_MAX',
    kinds.bytes,
    '1GiB',
    'The largest request body. A larger one gets a 413.',
  ),
  bodyMemory: setting(
    'HEADGATE_BODY_MEMORY',
    kinds.bytes,
    '256MiB',
    'The memory for all waiting requests together: headers, kept bodies, and complete answers that their callers have not read. Each takes at least 8 KiB of it. When it is full, the flow that uses most of it is shed first.',
  ),
  bodyIdleTimeout: setting(
    'HEADGATE_BODY_IDLE_TIMEOUT',
    kinds.duration({ min: 1 }),
    '30s',
    'The longest pause of an upload while it is read, and of a caller that reads its answer. The operating system shows in steps of up to 1.4 MB that an answer is read: raise it for callers that read long answers at less than 50 KB/s.',
  ),
  bodyMinRate: setting(
    'HEADGATE_BODY_MIN_RATE',
    kinds.bytes,
    '1KiB',
    'The least size per second of an upload that is streamed, while the API reads it: the average over 10 s, after 10 s. Also of a complete answer that waits for its caller, after the idle timeout. `0`: none.',
  ),
  keepAliveTimeout: setting(
    'HEADGATE_KEEPALIVE_TIMEOUT',
    kinds.duration({ min: 1 }),
    '75s',
    "How long a caller's connection may be idle. Set it above the idle timeout of a load balancer in front of Headgate.",
  ),
  tlsCert: setting(
    'HEADGATE_TLS_CERT',
    kinds.text,
    undefined,
    'A PEM file with the certificate (and its chain) for TLS on HEADGATE_LISTEN; read again when it changes.',
  ),
  tlsKey: setting(
    'HEADGATE_TLS_KEY',
    kinds.text,
    undefined,
    'A PEM file with the private key of that certificate.',
  ),
  adminTlsCert: setting(
    'HEADGATE_ADMIN_TLS_CERT',
    kinds.text,
    undefined,
    'The same for TLS on HEADGATE_ADMIN_LISTEN; may be the same file.',
  ),
  adminTlsKey: setting(
    'HEADGATE_ADMIN_TLS_KEY',
    kinds.text,
    undefined,
    'A PEM file with the private key of that certificate.',
  ),
  intercept: setting(
    'HEADGATE_INTERCEPT',
    kinds.interceptHosts,
    undefined,
    'The hosts of APIs that Headgate answers for on HEADGATE_INTERCEPT_LISTEN, comma-separated: `api.azion.com,api.azionapi.net`. For clients with a fixed address, which use Headgate as their `HTTPS_PROXY` ([clients.md](clients.md)).',
  ),
  interceptListen: setting(
    'HEADGATE_INTERCEPT_LISTEN',
    kinds.address,
    '127.0.0.1:8082',
    'The address of this proxy, while HEADGATE_INTERCEPT is set.',
  ),
  interceptCaCert: setting(
    'HEADGATE_INTERCEPT_CA_CERT',
    kinds.text,
    undefined,
    'A PEM file with the certificate of the authority that these clients trust (`headgate ca init` makes one); read again when it changes.',
  ),
  interceptCaKey: setting(
    'HEADGATE_INTERCEPT_CA_KEY',
    kinds.text,
    undefined,
    'A PEM file with the private key of that authority.',
  ),
  interceptOthers: setting(
    'HEADGATE_INTERCEPT_OTHERS',
    kinds.choice('refuse', 'tunnel'),
    'refuse',
    '`refuse`: a CONNECT to another host gets a 403. `tunnel`: Headgate passes its bytes on unread, to port 443 of hosts beyond this machine.',
  ),
  upstreamSocketAge: setting(
    'HEADGATE_UPSTREAM_SOCKET_AGE',
    kinds.duration({ min: 1 }),
    '30s',
    "How long a socket to the API is used. After that it is closed behind its answer, and the API's name is resolved again.",
  ),
  upstreamSocketRequests: setting(
    'HEADGATE_UPSTREAM_SOCKET_REQUESTS',
    kinds.integer(1, 1_000_000_000),
    '1000',
    'How many requests a socket to the API serves before it is closed.',
  ),
  upstreamAddress: setting(
    'HEADGATE_UPSTREAM_ADDRESS',
    kinds.dialAddress,
    undefined,
    "The address to connect to instead of the API's host name: `host:port` or a host. Host and SNI do not change.",
  ),
  upstreamCa: setting(
    'HEADGATE_UPSTREAM_CA',
    kinds.text,
    undefined,
    'A PEM file with the certificates to trust for the API, instead of the default ones.',
  ),
  allowHeaders: setting(
    'HEADGATE_ALLOW_HEADERS',
    kinds.headerNames,
    undefined,
    'Request headers that pass to the API although Headgate usually drops them, comma-separated: `X-HTTP-Method-Override`, `X-HTTP-Method`, `X-Method-Override`, `X-Original-URL`, `X-Rewrite-URL`, `baggage`, and names with `_`.',
  ),
  via: setting(
    'HEADGATE_VIA',
    kinds.choice('on', 'off'),
    'on',
    '`on`: sends `Via`, and rejects a request that loops back to Headgate (508). `off`: for APIs that do not compress answers to a request with `Via`.',
  ),
  rewriteLinks: setting(
    'HEADGATE_REWRITE_LINKS',
    kinds.choice('on', 'off'),
    'on',
    "`on`: links to the API in answers (Location, Content-Location, Link, the preset's JSON links) point to the gateway. `off`: the bytes of answers do not change.",
  ),
  laneConcurrency: setting(
    'HEADGATE_LANE_CONCURRENCY',
    kinds.integer(1, 10_000),
    '32',
    'The most requests of one bucket in flight at once that waited for the budget.',
  ),
  laneInterval: setting(
    'HEADGATE_LANE_INTERVAL',
    kinds.duration(),
    '0',
    'The least time between the starts of two such requests.',
  ),
  caller: setting(
    'HEADGATE_CALLER',
    kinds.callerName,
    undefined,
    'The name of callers that send none, for a sidecar.',
  ),
  callerKeys: setting(
    'HEADGATE_CALLER_KEYS',
    callerKeys,
    undefined,
    'The known callers and their keys, `billing=KEY,web=KEY`. A caller sends its key in `Headgate-Key`; without a known key it gets a 401.',
    { secret: true },
  ),
  callerKeysFile: setting(
    'HEADGATE_CALLER_KEYS_FILE',
    kinds.text,
    undefined,
    'A file that contains these keys, one `billing: KEY` per line; read again at SIGHUP.',
  ),
  open: setting(
    'HEADGATE_OPEN',
    kinds.yesOrNo,
    'false',
    '`true`: every client that can connect may spend the token, also from other machines and without a key.',
  ),
  hosts: setting(
    'HEADGATE_HOSTS',
    kinds.hostNames,
    undefined,
    'Further host names of the gateway, comma-separated; a request for another `Host` gets a 403. IP addresses, names without a dot (except two letters), and names that end in `.svc`, `.cluster.local`, `.internal` or `.localhost` are always accepted.',
  ),
  trustedProxies: setting(
    'HEADGATE_TRUSTED_PROXIES',
    kinds.networks,
    undefined,
    'The proxies before Headgate whose `X-Forwarded-For`, `X-Forwarded-Proto`, `X-Forwarded-Host`, `Forwarded` and PROXY protocol are believed: addresses and networks, comma-separated, such as `10.0.0.5,fd00::/8`.',
  ),
  adminToken: setting(
    'HEADGATE_ADMIN_TOKEN',
    kinds.secret,
    undefined,
    'The token of operators, sent as Bearer or as the password of Basic. Without it, only /health and /metrics can be read beyond loopback, and nothing can be changed.',
    { secret: true },
  ),
  adminTokenFile: setting(
    'HEADGATE_ADMIN_TOKEN_FILE',
    kinds.text,
    undefined,
    'A file that contains this token; read again when it changes.',
  ),
  drainDelay: setting(
    'HEADGATE_DRAIN_DELAY',
    kinds.duration(),
    '5s',
    'How long the gateway accepts requests after SIGTERM, while load balancers notice that it is not ready. 0 in a sidecar.',
  ),
  drainTimeout: setting(
    'HEADGATE_DRAIN_TIMEOUT',
    kinds.duration(),
    '30s',
    'How long unfinished calls may take after the drain delay.',
  ),
  redisUrl: setting(
    'HEADGATE_REDIS_URL',
    redisUrl,
    undefined,
    'The Redis in which all replicas share their budgets and queues: `redis://`, `rediss://`, `redis+sentinel://host,host/master`, `redis+cluster://host,host`. Unset: each process has its own.',
    { secret: true },
  ),
  redisPrefix: setting(
    'HEADGATE_REDIS_PREFIX',
    kinds.keyPrefix,
    'headgate',
    'The prefix of the names of keys and channels in Redis.',
  ),
  redisTimeout: setting(
    'HEADGATE_REDIS_TIMEOUT',
    kinds.duration({ min: 1 }),
    '100ms',
    'A slower answer of Redis counts as an outage. During an outage, each replica spends only its share of each budget.',
  ),
  redisPassword: setting(
    'HEADGATE_REDIS_PASSWORD',
    kinds.password,
    undefined,
    "The password for Redis, as it is, instead of in the URL. It belongs to the URL's user, or to the default user.",
    { secret: true },
  ),
  redisAuthFile: setting(
    'HEADGATE_REDIS_AUTH_FILE',
    kinds.text,
    undefined,
    'A file that contains `user:password` or a password, instead of the URL.',
  ),
  redisCa: setting(
    'HEADGATE_REDIS_CA',
    kinds.text,
    undefined,
    'A PEM file with the certificates to trust for Redis, instead of the default ones.',
  ),
  redisCert: setting(
    'HEADGATE_REDIS_CERT',
    kinds.text,
    undefined,
    'A PEM file with the client certificate for Redis.',
  ),
  redisKey: setting(
    'HEADGATE_REDIS_KEY',
    kinds.text,
    undefined,
    'A PEM file with the private key of that certificate.',
  ),
  secret: setting(
    'HEADGATE_SECRET',
    kinds.secret,
    undefined,
    'The key of the hashes that name credentials in logs and in Redis. It must be the same for all replicas. Unset: they agree on a random one through Redis.',
    { secret: true },
  ),
  secretFile: setting(
    'HEADGATE_SECRET_FILE',
    kinds.text,
    undefined,
    'A file that contains this key.',
  ),
  logLevel: setting(
    'HEADGATE_LOG_LEVEL',
    kinds.choice(...LOG_LEVELS),
    'info',
    'The lowest level that is logged. Call lines have `info`, 429s of the API have `warn`.',
  ),
  logFormat: setting(
    'HEADGATE_LOG_FORMAT',
    kinds.choice(...LOG_FORMATS),
    'native',
    "The names of the log's fields: `native` (docs/logs.md), `ecs` for the Elastic Common Schema, or `gcp` for Google Cloud. `headgate logs` reads `native`.",
  ),
} as const;

/** The key of a setting in a file: `maxWait` for `HEADGATE_MAX_WAIT`. */
export function fileKey(variable: string): string {
  const words = variable.replace('HEADGATE_', '').toLowerCase();
  return words.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
