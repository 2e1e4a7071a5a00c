import type { Preset } from './preset.ts';

/**
 * GitLab's REST and GraphQL API, on gitlab.com or, with HEADGATE_UPSTREAM_URL, elsewhere. Sources:
 * GitLab Docs, "User and IP rate limits", "REST API authentication", "Trigger pipelines with the API".
 *
 * Its clients add `/api/v4` to the address themselves. One throttle counts all authenticated API
 * requests of a user, so there are no classes. Limits of single routes are in no header: their 429 has
 * something remaining, and the request alone waits.
 */
export const gitlabPreset: Preset = {
  upstreamUrl: 'https://gitlab.com',
  tokenHeader: 'Authorization Bearer',
  credentialFields: ['private-token', 'job-token'],
  classes: [],
  limits: [],
  pathMasks: [],
  // `token` is that of a pipeline trigger.
  queryMasks: ['private_token', 'access_token', 'job_token', 'token'],
  // Pages are linked in the Link header.
  jsonLinks: [],
  callers: [],
  rateHeaders: [],
};
