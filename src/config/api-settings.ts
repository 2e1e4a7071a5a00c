import { z } from 'zod';
import { SETTINGS, type Setting } from './settings.ts';

/** What belongs to one API, and which requests it serves, where a file lists several under `apis`. */

/** Which requests belong to an API. */
export interface ApiMatch {
  /** Host names without ports, in lower case; empty: any host. */
  readonly hosts: readonly string[];
  /** A path prefix such as `/v4`, which stands for the API's base URL; empty: any path. */
  readonly prefix: string;
}

/** The match of a single API. */
export const EVERY_REQUEST: ApiMatch = { hosts: [], prefix: '' };

type SettingName = keyof typeof SETTINGS;

/** Settings that describe one API. Each of several APIs states its own; there is no common value. */
const OF_ONE_API = [
  'preset',
  'upstreamUrl',
  'upstreamAddress',
  'upstreamCa',
  'apiVersion',
  'token',
  'tokenFile',
  'tokenCommand',
  'tokenRefresh',
  'tokenBasic',
  'tokenBasicFile',
  'tokenHeader',
] as const satisfies readonly SettingName[];

/** Settings that an API may state for itself. Their top-level value is the default of every API. */
const WITH_COMMON_DEFAULT = [
  'cookies',
  'budgetPer',
  'limit',
  'spread',
  'maxWait',
  'patience',
  'maxQueue',
  'maxBuckets',
  'maxBucketsPerOwner',
  'shedStatus',
  'upstreamTimeout',
  'upstreamConnections',
  'upstreamSocketAge',
  'upstreamSocketRequests',
  'throttleStatuses',
  'retries',
  'allowHeaders',
  'via',
  'rewriteLinks',
  'laneConcurrency',
  'laneInterval',
] as const satisfies readonly SettingName[];

const variablesOf = (names: readonly SettingName[]): ReadonlySet<string> =>
  new Set(names.map((name) => SETTINGS[name].variable));

const ONE_API_VARIABLES = variablesOf(OF_ONE_API);
const API_VARIABLES = variablesOf([...OF_ONE_API, ...WITH_COMMON_DEFAULT]);

/** Whether a setting has no common value for several APIs. */
export function isOfOneApi({ variable }: Setting<unknown>): boolean {
  return ONE_API_VARIABLES.has(variable);
}

/** Whether an API may state a setting for itself. */
export function isOfApi({ variable }: Setting<unknown>): boolean {
  return API_VARIABLES.has(variable);
}

/** More APIs are rejected as a mistake. Each has its own sockets, and its own connections to Redis. */
export const MAX_APIS = 32;

export const API_NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,30}[A-Za-z0-9])?$/;
export const API_NAME_EXPECTED =
  'a name of at most 32 of A-Z a-z 0-9 . _ -, which begins and ends with a letter or a digit';

const HOST_EXPECTED = 'expected a host name without a port, such as github.gateway.internal';
const host = z
  .string(HOST_EXPECTED)
  .transform((name) => name.toLowerCase())
  .refine((name) => /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/.test(name), HOST_EXPECTED);

const PATH_EXPECTED = 'expected a path prefix such as /v4/**';

/** The segments of the prefix are in normal form, as those of the paths that it is compared with. */
export const apiMatch = z
  .strictObject(
    {
      host: z
        .union([host, z.array(host).min(1, HOST_EXPECTED).max(100, 'expected at most 100')])
        .optional(),
      path: z
        .string(PATH_EXPECTED)
        .regex(/^(?:\/(?!\.{1,2}\/)[A-Za-z0-9._~-]+)+\/\*\*$/, PATH_EXPECTED)
        .optional(),
    },
    'expected host, path or both',
  )
  .refine((match) => match.host !== undefined || match.path !== undefined, {
    error: 'expected host, path or both',
  })
  .transform((match): ApiMatch => ({
    hosts: match.host === undefined ? [] : [match.host].flat(),
    prefix: match.path?.slice(0, -'/**'.length) ?? '',
  }));

/**
 * The place where two matches are equal, or `undefined`. Any other pair has an order: a host comes
 * before any host, and a longer prefix before a shorter one.
 */
export function overlapOf(one: ApiMatch, other: ApiMatch): string | undefined {
  if (one.prefix !== other.prefix) return undefined;
  const path = one.prefix === '' ? 'every path' : `the paths under ${one.prefix}/`;
  if (one.hosts.length === 0 && other.hosts.length === 0) return `${path} of every host`;
  const shared = one.hosts.find((name) => other.hosts.includes(name));
  return shared === undefined ? undefined : `${path} of ${shared}`;
}
