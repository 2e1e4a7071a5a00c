import { anthropicPreset } from './anthropic.ts';
import { azionV4Preset } from './azion-v4.ts';
import { azionPreset } from './azion.ts';
import { cloudflarePreset } from './cloudflare.ts';
import { discordPreset } from './discord.ts';
import { githubPreset } from './github.ts';
import { gitlabPreset } from './gitlab.ts';
import { openaiPreset } from './openai.ts';
import { nonePreset, type Preset } from './preset.ts';
import { shopifyPreset } from './shopify.ts';

/** The presets by name. */
export const PRESETS: ReadonlyMap<string, Preset> = new Map([
  ['azion', azionPreset],
  ['azion-v4', azionV4Preset],
  ['github', githubPreset],
  ['gitlab', gitlabPreset],
  ['discord', discordPreset],
  ['cloudflare', cloudflarePreset],
  ['shopify', shopifyPreset],
  ['openai', openaiPreset],
  ['anthropic', anthropicPreset],
  ['none', nonePreset],
]);
