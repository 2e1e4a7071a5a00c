import type { ClassRule } from '../http/classify.ts';
import type { LimitRule } from '../http/limit-rule.ts';
import { AZION_CALLERS } from './azion.ts';
import type { Preset } from './preset.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

const GRAPHQL_LIMITS: readonly LimitRule[] = [{ limit: 120, periodMs: MINUTE_MS }];

/** The classes, below the path at which the version begins. */
function classesUnder(base: string): ClassRule[] {
  return [
    {
      name: 'purge-wildcard',
      methods: ['POST'],
      path: `${base}/workspace/purge/wildcard`,
      limits: [{ limit: 2000, periodMs: DAY_MS }],
    },
    {
      name: 'purge',
      methods: ['POST'],
      path: `${base}/workspace/purge/*`,
      limits: [
        { limit: 200, periodMs: MINUTE_MS },
        {
          name: 'objects',
          limit: 10_000,
          periodMs: MINUTE_MS,
          // A request has at most 50 objects.
          cost: { body: '/items', count: true, else: 50 },
        },
      ],
    },
    {
      name: 'graphql',
      methods: ['POST'],
      path: `${base}/metrics/graphql`,
      limits: GRAPHQL_LIMITS,
    },
    { name: 'graphql', methods: ['POST'], path: `${base}/events/graphql`, limits: GRAPHQL_LIMITS },
  ];
}

/**
 * Azion's API v4, which needs no version header. Sources: Azion documentation, "API v4" and "Real-Time
 * Purge"; the Go SDK of v4 (azionapi-v4-go-sdk); the Azion CLI and terraform-provider-azion.
 *
 * The documents name no rate headers, so the limits that they state are stated here too, until answers
 * report others: "API v4" has 120 GraphQL queries a minute. "Real-Time Purge" has 200 requests a minute by
 * URL and cache key, of at most 50 objects each and 10,000 objects together, and 2,000 a day by wildcard.
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
  limits: [],
  // Tokens are in headers and bodies only.
  pathMasks: [],
  queryMasks: [],
  // A list has count, total_pages, page, page_size and results, and no links.
  jsonLinks: [],
  clients: { 'azion-cli': ['AZIONCLI_API_V4_URL'] },
  callers: AZION_CALLERS,
  rateHeaders: [],
};
