import { relative } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/**
 * The files that take longest, the longest first. Vitest remembers how long each file took, but not
 * in a fresh clone; started last, such a file would run on alone.
 */
const LONGEST: readonly string[] = [
  'test/e2e/redis-faults.test.ts',
  'test/admin/live-page.test.ts',
  'test/telemetry/tracing.test.ts',
  'test/e2e/shutdown.test.ts',
  'test/life/garbage.test.ts',
  'test/e2e/redis-prefetch.test.ts',
  'test/budget/model.test.ts',
  'test/budget/inexact-resets.test.ts',
];

/** Runs the projects in Vitest's order, and in each the longest files first. */
export default class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const projects = [...new Set(sorted.map(({ project }) => project))];
    const rank = ({ project, moduleId }: TestSpecification): number => {
      const at = LONGEST.indexOf(relative(this.ctx.config.root, moduleId));
      return projects.indexOf(project) * 1000 + (at === -1 ? LONGEST.length : at);
    };
    return sorted.toSorted((a, b) => rank(a) - rank(b));
  }
}
