import { writeFileSync } from 'node:fs';
import { modelInLua, OUTPUT } from './model-to-lua.ts';

/** Writes the budget model in Lua, for the step in Redis. */

writeFileSync(new URL(`../../${OUTPUT}`, import.meta.url), modelInLua());
