import type { Preset } from './preset.ts';

/**
 * OpenAI's API. Sources: OpenAI API documentation, "Rate limits" and "API Reference: Authentication".
 *
 * Limits vary by the model, of which the body alone shows the name, and by the account; every answer
 * reports those of requests and tokens, so none is stated. The classes part the routes whose models are
 * others.
 */
export const openaiPreset: Preset = {
  upstreamUrl: 'https://api.openai.com/v1',
  tokenHeader: 'Authorization Bearer',
  credentialFields: [],
  classes: [
    { name: 'embeddings', path: '/embeddings' },
    { name: 'moderations', path: '/moderations' },
    { name: 'images', path: '/images/**' },
    { name: 'audio', path: '/audio/**' },
  ],
  limits: [],
  pathMasks: [],
  queryMasks: [],
  jsonLinks: [],
  callers: [],
  rateHeaders: [],
};
