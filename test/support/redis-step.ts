import type { Redis } from 'ioredis';
import { bucketKeys, STEP_KEYS, stepScript } from '../../src/ledger/shared/script/step-script.ts';

/** The script on a clock that the test sets: `ARGV[3]`. */
const SCRIPT = stepScript('local function serverTime() return tonumber(ARGV[3]) end');

export const PREFIX = 'h';
export const CHANNEL = `${PREFIX}:replica:`;

/** Runs steps on a server, each at a time that the test gives. */
export function makeTimedStep(client: Redis) {
  client.defineCommand('timedStep', { numberOfKeys: STEP_KEYS, lua: SCRIPT });
  const run: unknown = Reflect.get(client, 'timedStep');
  if (typeof run !== 'function') throw new Error('the client has no such command');
  return (bucketId: string, batch: string, atMs: number): Promise<unknown> =>
    run.call(client, ...bucketKeys(PREFIX, bucketId), batch, CHANNEL, String(atMs));
}
