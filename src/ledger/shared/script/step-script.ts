import { readFileSync } from 'node:fs';

/** The parts of the step, in the order in which each needs those before it. */
const PARTS = [
  'keys',
  'server-time',
  'slots',
  'leases',
  'bucket',
  'queue',
  'begin',
  'prefetch',
  'report',
  'serve',
  'step',
] as const;

/** What the script's keys end in, in the order in which keys.lua names them. */
const KEY_ENDS = [
  'state',
  'queue',
  'tickets',
  'active',
  'idle',
  'flows',
  'owners',
  'lengths',
  'leases',
  'held',
  'offers',
  'expired',
  'replicas',
] as const;

export const STEP_KEYS = KEY_ENDS.length;

/**
 * The Lua of one step: a single script, so that a step is one atomic transition and one round trip
 * (docs/decisions/0020). `serverTime` replaces the part that asks the server for the time.
 */
export function stepScript(serverTime?: string): string {
  return PARTS.map((part) => {
    if (part === 'server-time' && serverTime !== undefined) return serverTime;
    return readFileSync(new URL(`./${part}.lua`, import.meta.url), 'utf8');
  }).join('\n');
}

/** A bucket's keys. They share the hash tag, so a cluster keeps them on one node. */
export function bucketKeys(prefix: string, bucketId: string): string[] {
  return KEY_ENDS.map((end) => `${prefix}:{${bucketId}}:${end}`);
}
