import { readFileSync } from 'node:fs';

/** A Lua file of the script, and the name by which the files after it know what it returns. */
interface Part {
  readonly file: string;
  /** Absent for a file whose locals are for all files after it; it returns from the whole script. */
  readonly module?: string;
  /**
   * Made when it is first used. Redis makes all functions of a script anew in each step, and in most
   * steps no ticket waits.
   */
  readonly isLazy?: true;
}

/** The parts of the step, in the order in which each needs those before it. */
const PARTS: readonly Part[] = [
  { file: 'keys' },
  { file: 'server-time' },
  { file: 'model', module: 'Model' },
  { file: 'leases', module: 'Leases' },
  { file: 'stored-slots', module: 'StoredSlots' },
  { file: 'fair-queue', module: 'FairQueue', isLazy: true },
  { file: 'stored-queue', module: 'StoredQueue', isLazy: true },
  { file: 'recent-owners', module: 'RecentOwners', isLazy: true },
  { file: 'replicas', module: 'Replicas' },
  { file: 'begin' },
  { file: 'stated-shares', module: 'Shares', isLazy: true },
  { file: 'owners', module: 'Owners', isLazy: true },
  { file: 'reserve', module: 'Reserve', isLazy: true },
  { file: 'prefetch', module: 'Prefetch', isLazy: true },
  { file: 'grants', module: 'Grants' },
  { file: 'report', module: 'Report' },
  { file: 'waiting', module: 'Waiting', isLazy: true },
  { file: 'offers', module: 'Offers', isLazy: true },
  { file: 'serve', module: 'Serve' },
  { file: 'step' },
];

/** The ends of the names of the script's keys, in the order in which keys.lua reads them. */
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
  'offers',
  'expired',
] as const;

export const STEP_KEYS = KEY_ENDS.length;

/**
 * The Lua of one step: a single script, so that a step is one atomic transition and one round trip
 * (docs/decisions/0020). `serverTime` replaces the part that reads the server's clock.
 *
 * A Lua function has at most 200 locals, so a module is a function that runs once and returns a table.
 */
export function stepScript(serverTime?: string): string {
  return PARTS.map(({ file, module, isLazy = false }) => {
    if (file === 'server-time' && serverTime !== undefined) return serverTime;
    const text = readFileSync(new URL(`./${file}.lua`, import.meta.url), 'utf8');
    if (module === undefined) return text;
    const made = `function()\n${text}end`;
    return `local ${module} = ${isLazy ? `lazily({ ${made} })` : `(${made})()`}\n`;
  }).join('\n');
}

/** A bucket's keys. They share the hash tag, so a cluster keeps them on one node. */
export function bucketKeys(prefix: string, bucketId: string): string[] {
  return KEY_ENDS.map((end) => `${prefix}:{${bucketId}}:${end}`);
}
