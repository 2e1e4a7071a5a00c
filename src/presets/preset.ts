import type { VersionRequest } from '../http/accept.ts';
import type { CallerRule } from '../queue/caller-rules.ts';
import type { ClassRule } from '../http/classify.ts';
import type { LimitRule } from '../http/limit-rule.ts';
import type { RateHeaderRule } from '../rate-headers/declared-headers.ts';

/** The known facts about one API: what Headgate needs to work with it. */
export interface Preset {
  /** Absent: the URL of the API must be configured. */
  readonly upstreamUrl?: string;
  /** Absent: requests have no version. */
  readonly apiVersion?: VersionRequest;
  /** HEADGATE_TOKEN_HEADER: the header of a configured token, and the scheme before it. */
  readonly tokenHeader?: string;
  /**
   * The path at which `POST` with Basic authentication returns a token, as JSON with `token`,
   * `created_at` and `expires_at`.
   */
  readonly tokenPath?: string;
  /** Lower-case names of the headers besides Authorization in which its clients send credentials. */
  readonly credentialFields: readonly string[];
  /** The groups of routes that the API meters together. The first class that matches applies. */
  readonly classes: readonly ClassRule[];
  /** Limits over the classes that no answer reports until it refuses. */
  readonly limits: readonly LimitRule[];
  /** Paths whose `*` segments are secret. */
  readonly pathMasks: readonly string[];
  /** Names of query parameters whose values are secret. */
  readonly queryMasks: readonly string[];
  /** The places of links to the API in its JSON answers, as JSON pointers: `/links/next`. */
  readonly jsonLinks: readonly string[];
  /** The environment variables by which its known clients take the base URL: by client. */
  readonly clients?: Readonly<Record<string, readonly string[]>>;
  /** Rules for its known clients. */
  readonly callers: readonly CallerRule[];
  /** What its rate headers mean, where neither their names nor their values show it. */
  readonly rateHeaders: readonly RateHeaderRule[];
}

/** For any API that reports its limit in headers, with one budget for all routes. */
export const nonePreset: Preset = {
  credentialFields: [],
  classes: [],
  limits: [],
  pathMasks: [],
  // RFC 6750 §2.3: a bearer token in the query.
  queryMasks: ['access_token'],
  jsonLinks: [],
  callers: [],
  rateHeaders: [],
};
