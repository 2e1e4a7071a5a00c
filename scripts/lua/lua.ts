import { writeFileSync } from 'node:fs';
import { LUA_MODULES, moduleInLua } from './model-to-lua.ts';

/** Writes the budget model and the fair queue in Lua, for the step in Redis. */

for (const module of LUA_MODULES) {
  writeFileSync(new URL(`../../${module.output}`, import.meta.url), moduleInLua(module));
}
