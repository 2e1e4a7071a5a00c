import { statSync, unwatchFile, watchFile, type Stats } from 'node:fs';
import { stat } from 'node:fs/promises';

/** How often a file is checked. Polling also notices mounted secrets, which replace a link. */
const POLL_INTERVAL_MS = 1000;

/**
 * Calls `onChange` when a file has changed. Returns the function that ends the watch.
 *
 * Node compares the file with what a thread finds at a first look. That look may be late, because
 * names are resolved by the same threads. A change before it is found by another look behind it.
 */
export function watchPath(path: string, onChange: () => void): () => void {
  let isWatched = true;
  const before = versionOf(statSync(path, { throwIfNoEntry: false }));
  watchFile(path, { interval: POLL_INTERVAL_MS, persistent: false }, onChange);
  void stat(path)
    .catch(() => undefined)
    .then((now) => {
      if (isWatched && versionOf(now) !== before) onChange();
    });
  return () => {
    isWatched = false;
    unwatchFile(path, onChange);
  };
}

function versionOf(stats: Stats | undefined): string {
  return stats === undefined ? '' : `${stats.ino} ${stats.size} ${stats.mtimeMs} ${stats.ctimeMs}`;
}
