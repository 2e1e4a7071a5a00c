import { azionPreset } from './azion.ts';
import { nonePreset, type Preset } from './preset.ts';

/** The presets by name. */
export const PRESETS: ReadonlyMap<string, Preset> = new Map([
  ['azion', azionPreset],
  ['none', nonePreset],
]);
