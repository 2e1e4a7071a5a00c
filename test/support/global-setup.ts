import type { TestProject } from 'vitest/node';
import { installMissingTools } from '../../scripts/test-tools.ts';
import { needs } from './tools.ts';

/**
 * Runs once before the tests of a project. It installs the programs that tests start, where it can,
 * and has the tests of those that are still missing skipped; in CI they run, and fail.
 */
export default function setup({ config }: TestProject): void {
  const missing = installMissingTools((line) => process.stdout.write(`${line}\n`));
  if (process.env['CI'] === 'true') return;
  const tags = new Set<string>(needs(...missing));
  for (const tag of config.tags) if (tags.has(tag.name)) tag.skip = true;
}
