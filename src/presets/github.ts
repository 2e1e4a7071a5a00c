import type { Preset } from './preset.ts';

/**
 * GitHub's REST and GraphQL API. Sources: GitHub Docs, "Rate limits for the REST API", "REST API
 * endpoints for rate limits", "API Versions", "Authenticating to the REST API".
 *
 * The classes have the names that `X-RateLimit-Resource` reports. Every answer reports its limit, which
 * depends on how the request authenticates (core 5,000 or 60 an hour), so none is stated. A primary or secondary limit is
 * refused with 403 or 429, with a Retry-After or with nothing remaining until the reset.
 */
export const githubPreset: Preset = {
  upstreamUrl: 'https://api.github.com',
  apiVersion: { kind: 'field', version: '2022-11-28', name: 'X-GitHub-Api-Version' },
  tokenHeader: 'Authorization Bearer',
  credentialFields: [],
  classes: [
    { name: 'graphql', path: '/graphql' },
    { name: 'code_search', path: '/search/code' },
    { name: 'search', path: '/search/**' },
    { name: 'integration_manifest', methods: ['POST'], path: '/app-manifests/*/conversions' },
    { name: 'scim', path: '/scim/**' },
    { name: 'core' },
  ],
  limits: [],
  // The code of POST /app-manifests/:code/conversions is exchanged for the private key of an app.
  pathMasks: ['/app-manifests/*'],
  queryMasks: ['access_token', 'client_secret'],
  // Pages are linked in the Link header.
  jsonLinks: [],
  callers: [],
  rateHeaders: [],
};
