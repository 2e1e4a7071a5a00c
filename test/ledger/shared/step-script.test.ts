// @module-tag needs-redis-server
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stepScript } from '../../../src/ledger/shared/script/step-script.ts';
import { read, section } from '../../docs/markdown.ts';
import { startRedis, type RedisServer } from '../../support/redis-server.ts';

/** Lua's own bound for one function. */
const LUA_MAX_LOCALS = 200;
/** Enough for the modules and what a step works on; a module's own locals stay inside it. */
const MAX_LOCALS = 53;

describe('the script of a step', () => {
  let redis: RedisServer;

  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.stop());

  /** Compiles the script with further locals before its own. */
  async function compileWith(locals: number): Promise<unknown> {
    const names = Array.from({ length: locals }, (_, i) => `unused${i}`);
    return redis.client.script('LOAD', `local ${names.join(', ')}\n${stepScript()}`);
  }

  test(`has at most ${MAX_LOCALS} locals outside its modules`, async () => {
    await expect(compileWith(LUA_MAX_LOCALS - MAX_LOCALS)).resolves.toMatch(/^[0-9a-f]{40}$/);
  });

  test('calls only commands that docs/redis.md lists for its user', () => {
    const rules = section(read('docs/redis.md'), '## Access');
    const called = stepScript().matchAll(/redis\.call\('([A-Z]+)'/g);
    const names = new Set([...called].map(([, name = '']) => `+${name.toLowerCase()}`));
    expect([...names].filter((name) => !rules.split(/\s+/).includes(name))).toEqual([]);
  });

  test('is refused by the server with more locals than Lua allows', async () => {
    await expect(compileWith(LUA_MAX_LOCALS)).rejects.toThrow(/has more than 200 local variables/);
  });
});
