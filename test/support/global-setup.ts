import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { installMissingTools } from '../../scripts/test-tools.ts';
import { ROOT } from './spawned.ts';
import { needs } from './tools.ts';

/**
 * Runs once before the tests of a project. It installs the programs that tests start, where it can,
 * and has the tests of those that are still missing skipped; in CI they run, and fail.
 *
 * It also names the folder in which Node keeps compiled modules. Tests start Node hundreds of times,
 * and to compile the modules takes half of a start. The folder has one entry for each module.
 */
export default function setup({ config }: TestProject): void {
  process.env['NODE_COMPILE_CACHE'] ??= join(ROOT, 'node_modules/.cache/node-compile');
  const missing = installMissingTools((line) => process.stdout.write(`${line}\n`));
  if (process.env['CI'] === 'true') return;
  const tags = new Set<string>(needs(...missing));
  for (const tag of config.tags) if (tags.has(tag.name)) tag.skip = true;
}
