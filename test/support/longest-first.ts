import { relative } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import { LONGEST } from './test-projects.ts';

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
