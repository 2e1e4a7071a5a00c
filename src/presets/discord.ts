import { DEFAULT_CLASS, type ClassRule } from '../http/classify.ts';
import type { Preset } from './preset.ts';

/** The versions in use, with which each path begins. */
const VERSIONS = ['/v10', '/v9'];

/**
 * Discord's API for bots. Sources: Discord Developer Documentation, "Rate Limits", "API Reference",
 * "Webhook Resource", "Receiving and Responding to Interactions".
 *
 * Limits are counted per route and per channel, guild or webhook. `X-RateLimit-Bucket` names the bucket.
 * The classes part what never shares one. "Rate Limits" has a global limit of 50 requests a second for a
 * bot, which no header reports before a 429, and which interactions are exempt from.
 */
export const discordPreset: Preset = {
  upstreamUrl: 'https://discord.com/api',
  tokenHeader: 'Authorization Bot',
  credentialFields: [],
  classes: VERSIONS.flatMap((version): ClassRule[] => [
    { name: 'interactions', path: `${version}/interactions/**` },
    { name: 'webhooks', path: `${version}/webhooks/**` },
    { name: 'channels', path: `${version}/channels/**` },
    { name: 'guilds', path: `${version}/guilds/**` },
  ]),
  limits: [
    {
      name: 'global',
      limit: 50,
      periodMs: 1000,
      scope: 'credential',
      classes: ['webhooks', 'channels', 'guilds', DEFAULT_CLASS],
    },
  ],
  // /webhooks/:id/:token and /interactions/:id/:token authorize by themselves.
  pathMasks: VERSIONS.flatMap((version) => [
    `${version}/webhooks/*/*`,
    `${version}/interactions/*/*`,
  ]),
  queryMasks: ['access_token'],
  jsonLinks: [],
  callers: [],
  // X-RateLimit-Reset-After has the same time without the difference of two clocks.
  rateHeaders: [{ header: 'x-ratelimit-reset', role: 'ignore' }],
};
