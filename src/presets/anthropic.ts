import type { Preset } from './preset.ts';

/**
 * Anthropic's API. Sources: Claude API documentation, "Rate limits", "Versions", "Token counting" and
 * "Batch processing"; the official TypeScript SDK.
 *
 * Token counting and batches have limits apart from those of messages. They depend on the account, and
 * answers report them under the names of what they count, so none is stated.
 */
export const anthropicPreset: Preset = {
  upstreamUrl: 'https://api.anthropic.com',
  apiVersion: { kind: 'field', version: '2023-06-01', name: 'anthropic-version' },
  tokenHeader: 'X-Api-Key',
  credentialFields: [],
  classes: [
    { name: 'count-tokens', path: '/v1/messages/count_tokens' },
    { name: 'batches', path: '/v1/messages/batches/**' },
    { name: 'messages', path: '/v1/messages' },
  ],
  limits: [],
  pathMasks: [],
  queryMasks: [],
  // An absolute URL, which the SDK requests for the results of a batch.
  jsonLinks: ['/results_url'],
  callers: [],
  rateHeaders: [],
};
