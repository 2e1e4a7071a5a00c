import type { CallerRule } from '../queue/caller-rules.ts';
import type { Preset } from './preset.ts';

/**
 * What the public clients of both versions of the API do. Sources: the sources of the Azion CLI, of
 * octodns-azion and of terraform-provider-azion.
 */
export const AZION_CALLERS: readonly CallerRule[] = [
  ...['Azion_CLI/0', 'Azion_CLI/1', 'Azion_CLI/2.0'].map((userAgent): CallerRule => ({
    userAgent,
    maxWaitMs: 25_000,
    shedStatus: 429,
    why: 'it gives up after 30 s',
  })),
  { userAgent: 'Azion_CLI', maxWaitMs: 45_000, shedStatus: 429, why: 'it gives up after 50 s' },
  {
    userAgent: 'octodns',
    maxWaitMs: 25_000,
    shedStatus: 429,
    why: 'it gives up after 30 s, and retries nothing but 429',
  },
  { userAgent: 'terraform', shedStatus: 429, why: 'it retries nothing but 429' },
];

/**
 * Azion's API v3. Sources: Azion documentation, "API v3" and "Real-Time Purge"; its public clients;
 * recorded answers.
 *
 * Reads have a limit of 80 a minute, writes of 20, GraphQL of 120, purges by URL and by cache key of 200;
 * purges by wildcard have 2,000 a day ("Real-Time Purge", and the same in recorded answers). The limits
 * of purges are stated, so that a purge need not wait for the answer to the first one.
 */
export const azionPreset: Preset = {
  upstreamUrl: 'https://api.azionapi.net',
  apiVersion: { kind: 'accept', version: '3', mediaType: 'application/json' },
  // The token is valid for a day.
  tokenPath: '/tokens',
  credentialFields: [],
  classes: [
    {
      name: 'purge-wildcard',
      methods: ['POST'],
      path: '/purge/wildcard',
      limits: [{ limit: 2000, periodMs: 86_400_000 }],
    },
    {
      name: 'purge',
      methods: ['POST'],
      path: '/purge/*',
      limits: [{ limit: 200, periodMs: 60_000 }],
    },
    { name: 'graphql', methods: ['POST'], path: '/metrics/graphql' },
    { name: 'graphql', methods: ['POST'], path: '/events/graphql' },
    { name: 'read', methods: ['GET', 'HEAD', 'OPTIONS'] },
    { name: 'write' },
  ],
  limits: [],
  // The path of DELETE /tokens/:token contains the token that it revokes.
  pathMasks: ['/tokens/*'],
  // Credentials are sent in Authorization only.
  queryMasks: [],
  // Every list has these two fields. Their values are absolute URLs of the API.
  jsonLinks: ['/links/previous', '/links/next'],
  // Version 1.31 to 1.42 of Terraform's provider; later ones have no variable for API v4.
  clients: { terraform: ['AZION_API_ENTRYPOINT'], 'azion-cli': ['AZIONCLI_API_URL'] },
  callers: AZION_CALLERS,
  rateHeaders: [],
};
