import type { Preset } from './preset.ts';

/** Azion's API v3. Sources: its documentation, its public clients, and recorded answers. */
export const azionPreset: Preset = {
  upstreamUrl: 'https://api.azionapi.net',
  apiVersion: { version: '3', mediaType: 'application/json' },
  classes: [
    { name: 'purge-wildcard', methods: ['POST'], path: '/purge/wildcard' },
    { name: 'purge', methods: ['POST'], path: '/purge/*' },
    { name: 'read', methods: ['GET', 'HEAD', 'OPTIONS'] },
    { name: 'write' },
  ],
  // The path of DELETE /tokens/:token contains the token that it revokes.
  pathMasks: ['/tokens/*'],
  // Credentials are sent in Authorization only.
  queryMasks: [],
  // Every list has these two fields. Their values are absolute URLs of the API.
  jsonLinks: ['/links/previous', '/links/next'],
  callers: [
    { userAgent: 'Azion_CLI', maxWaitMs: 45_000, why: 'it gives up after 50 s' },
    { userAgent: 'terraform', shedStatus: 429, why: 'it retries nothing but 429' },
  ],
  rateHeaders: [],
};
