import { relative } from 'node:path';
import type { Reporter, TestModule } from 'vitest/node';
import { howToGet, missingTools } from '../../scripts/test-tools.ts';
import { needs } from './tools.ts';

/** Lists, after a run, each test that was skipped because a tool is missing, and how to get it. */
export default class NotRunReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const skipped = modules.flatMap((module) => [...module.children.allTests('skipped')]);
    for (const tool of missingTools()) {
      const [tag = ''] = needs(tool);
      const tests = skipped.filter(({ tags }) => tags.includes(tag));
      if (tests.length === 0) continue;
      process.stdout.write(`\n${tests.length} tests not run without ${tool}; ${howToGet(tool)}:\n`);
      for (const { module, fullName } of tests) {
        process.stdout.write(`  ${relative(process.cwd(), module.moduleId)} > ${fullName}\n`);
      }
    }
  }
}
