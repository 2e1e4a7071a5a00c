import type { Preset } from './preset.ts';

/**
 * Cloudflare's API v4. Sources: Cloudflare Docs, "Rate limits" (Fundamentals), "Make API calls", and
 * the changelog of 3 September 2025, "Introducing new headers for rate limiting on Cloudflare's API".
 *
 * REST has 1,200 requests in five minutes per user, which answers report, so it is not stated. GraphQL has
 * a limit of its own, by cost.
 */
export const cloudflarePreset: Preset = {
  upstreamUrl: 'https://api.cloudflare.com/client/v4',
  tokenHeader: 'Authorization Bearer',
  // The global API key, beside X-Auth-Email.
  credentialFields: ['x-auth-key'],
  classes: [{ name: 'graphql', path: '/graphql' }, { name: 'rest' }],
  limits: [],
  pathMasks: [],
  queryMasks: [],
  jsonLinks: [],
  callers: [],
  rateHeaders: [],
};
