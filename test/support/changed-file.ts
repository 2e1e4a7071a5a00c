import { writeFileSync } from 'node:fs';
import { until } from './setup.ts';

/**
 * Writes a file that the gateway watches, and resolves when `isNoticed` returns true. Node compares a
 * file with what it was at a first look, which it takes outside of the event loop. On a busy machine
 * that look may come after the first change, so the file is written again until it is noticed.
 */
export async function changeFile(
  path: string,
  text: string,
  isNoticed: () => boolean,
): Promise<void> {
  const change = (): boolean => {
    if (isNoticed()) return true;
    writeFileSync(path, text);
    return false;
  };
  await until(`the change of ${path} is noticed`, change, { everyMs: 200 });
}
