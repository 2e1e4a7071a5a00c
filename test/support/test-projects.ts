import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readSource, sourceFiles, type SourceFile } from './source-files.ts';
import { ROOT } from './spawned.ts';

/**
 * The part of the suite that a test file belongs to, by the heaviest thing that it or its support
 * files import: `unit` has no sockets, files or processes; `integration` has some of them; `e2e`
 * starts a whole gateway, a browser, or another program.
 */
export type TestProject = 'unit' | 'integration' | 'e2e';

/**
 * The files that take longest, the longest first. Vitest remembers how long each file took, but not
 * in a fresh clone; started last, such a file would run on alone.
 */
export const LONGEST: readonly string[] = [
  'test/e2e/redis-faults.test.ts',
  'test/admin/live-page.test.ts',
  'test/clients/clients.test.ts',
  'test/life/garbage.test.ts',
  'test/e2e/bounded.test.ts',
  'test/logs/logs-command.test.ts',
  'test/e2e/several-limits.test.ts',
  'test/admin/live-page-buckets.test.ts',
  'test/telemetry/tracing.test.ts',
  'test/e2e/shutdown.test.ts',
  'test/e2e/redis-prefetch.test.ts',
  'test/ledger/shared/hostile-mixes.test.ts',
  'test/ledger/reserve.test.ts',
  'test/patterns.test.ts',
  'test/ledger/shared/saturation.test.ts',
  'test/budget/model.test.ts',
  'test/budget/bucket-properties.test.ts',
  'test/budget/inexact-resets.test.ts',
];

/** What support files start, by the name that a test imports. */
const E2E: ReadonlySet<string> = new Set([
  'startGateway',
  'startGatewayProcess',
  'GatewayProcess',
  'Spawned',
  'headgate',
  'launchBrowser',
]);

const INTEGRATION =
  /^(?:node:(?:net|tls|http|https|fs|fs\/promises|child_process)|ioredis|undici)$/;

/** Finds the project of a test file. `read` returns the file at a path, if there is one. */
export function projectOf(
  path: string,
  read: (path: string) => SourceFile | undefined,
): TestProject {
  const seen = new Set<string>();
  let project: TestProject = 'unit';
  const visit = (from: string): void => {
    if (seen.has(from)) return;
    seen.add(from);
    for (const { from: imported, isOurs, isType, values } of read(from)?.imports ?? []) {
      if (isType) continue;
      if (values.some((name) => E2E.has(name))) project = 'e2e';
      if (project === 'unit' && INTEGRATION.test(imported)) project = 'integration';
      if (isOurs && /^(?:test|bench|demo|scripts)\//.test(imported)) visit(imported);
    }
  };
  visit(path);
  return project;
}

/** The paths of all test files, by project. */
export function testProjects(): Record<TestProject, string[]> {
  const files = new Map<string, SourceFile>();
  const read = (path: string): SourceFile | undefined => {
    // A test may hold code in a string, whose imports are of files that do not exist.
    if (!files.has(path) && existsSync(join(ROOT, path))) {
      files.set(path, readSource(path, readFileSync(join(ROOT, path), 'utf8')));
    }
    return files.get(path);
  };
  const projects: Record<TestProject, string[]> = { unit: [], integration: [], e2e: [] };
  for (const { path } of sourceFiles('test')) {
    if (path.endsWith('.test.ts')) projects[projectOf(path, read)].push(path);
  }
  return projects;
}
