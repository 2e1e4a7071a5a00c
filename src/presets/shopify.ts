import type { Preset } from './preset.ts';

/**
 * Shopify's Admin API of one shop: HEADGATE_UPSTREAM_URL is its address with the version, such as
 * `https://SHOP.myshopify.com/admin/api/2026-01`. Sources: Shopify.dev, "REST Admin API rate limits",
 * "Shopify API limits", "REST Admin API reference"; Shopify Community, "API Rate Limits Question".
 *
 * A leaky bucket of 40 requests loses 2 a second, one of 80 loses 4 and one of 400 loses 20, by the
 * shop's plan: each is empty after 20 s. GraphQL has points, which its bodies report and no header.
 */
export const shopifyPreset: Preset = {
  tokenHeader: 'X-Shopify-Access-Token',
  credentialFields: [],
  classes: [{ name: 'graphql', path: '/graphql.json' }, { name: 'rest' }],
  limits: [],
  pathMasks: [],
  queryMasks: [],
  // Pages are linked in the Link header.
  jsonLinks: [],
  callers: [],
  // No period is declared: a period of 20 s would hold each request for 20 s, and the bucket leaks evenly.
  rateHeaders: [],
};
