import type { ClassRule } from '../http/classify.ts';
import { AZION_CALLERS } from './azion.ts';
import type { Preset } from './preset.ts';

/** The classes, below the path at which the version begins. */
function classesUnder(base: string): ClassRule[] {
  return [
    { name: 'purge-wildcard', methods: ['POST'], path: `${base}/workspace/purge/wildcard` },
    { name: 'purge', methods: ['POST'], path: `${base}/workspace/purge/*` },
    { name: 'graphql', methods: ['POST'], path: `${base}/metrics/graphql` },
    { name: 'graphql', methods: ['POST'], path: `${base}/events/graphql` },
  ];
}

/**
 * Azion's API v4, which needs no version header. Sources: Azion documentation, "API v4" and "Real-Time
 * Purge"; the Go SDK of v4 (azionapi-v4-go-sdk); the Azion CLI and terraform-provider-azion.
 *
 * The documents state limits for GraphQL (120 a minute) and for purges (200 requests a minute by URL
 * and cache key, 2,000 a day by wildcard). They name no rate headers, so what answers report counts.
 */
export const azionV4Preset: Preset = {
  upstreamUrl: 'https://api.azion.com/v4',
  tokenHeader: 'Authorization Token',
  credentialFields: [],
  classes: [
    ...classesUnder(''),
    // For clients whose addresses are fixed, and HEADGATE_UPSTREAM_URL=https://api.azion.com.
    ...classesUnder('/v4'),
    { name: 'read', methods: ['GET', 'HEAD', 'OPTIONS'] },
    { name: 'write' },
  ],
  // Tokens are in headers and bodies only.
  pathMasks: [],
  queryMasks: [],
  // A list has count, total_pages, page, page_size and results, and no links.
  jsonLinks: [],
  clients: { 'azion-cli': ['AZIONCLI_API_V4_URL'] },
  callers: AZION_CALLERS,
  rateHeaders: [],
};
