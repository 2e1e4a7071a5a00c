import type { Preset } from './preset.ts';

/** Azion's API v3: its documentation, and what its public clients and recorded answers show. */
export const azionPreset: Preset = {
  upstreamUrl: 'https://api.azionapi.net',
  apiVersion: { version: '3', mediaType: 'application/json' },
  classes: [
    { name: 'purge-wildcard', methods: ['POST'], path: '/purge/wildcard' },
    { name: 'purge', methods: ['POST'], path: '/purge/*' },
    { name: 'read', methods: ['GET', 'HEAD', 'OPTIONS'] },
    { name: 'write' },
  ],
  // DELETE /tokens/:token carries the token it revokes.
  pathMasks: ['/tokens/*'],
  // The envelope of every list; what they hold is an absolute URL at the API's own address.
  jsonLinks: ['/links/previous', '/links/next'],
  callers: [
    { userAgent: 'Azion_CLI', maxWaitMs: 45_000, why: 'it gives up after 50 s' },
    { userAgent: 'terraform', shedStatus: 429, why: 'it retries nothing but 429' },
  ],
};
