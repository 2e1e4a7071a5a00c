import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import LongestFirst from './test/support/longest-first.ts';
import { testProjects } from './test/support/test-projects.ts';
import { toolTags } from './test/support/tools.ts';

const files = testProjects();
const setup = { globalSetup: ['test/support/global-setup.ts'] };

export default defineConfig({
  test: {
    // `npm run test:unit` and its like run one of them; test-projects.ts says what belongs where.
    projects: [
      { extends: true, test: { name: 'unit', include: files.unit } },
      { extends: true, test: { name: 'integration', include: files.integration, ...setup } },
      { extends: true, test: { name: 'e2e', include: files.e2e, ...setup } },
    ],
    // No test leaves anything behind, so the files that one worker runs share its modules.
    isolate: false,
    tags: toolTags(),
    // Far more than any test takes: a busy machine must not fail one.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    expect: { poll: { timeout: 240_000 } },
    // Each of these tests starts several gateways, and three at a time fill a small machine.
    maxConcurrency: 3,
    // Most tests wait for clocks and sockets, so three files run at a time even on two cores.
    maxWorkers: Math.max(3, availableParallelism() - 1),
    sequence: { sequencer: LongestFirst },
    reporters: [
      'default',
      ['json', { outputFile: 'node_modules/.cache/test-report.json' }],
      'test/support/not-run-reporter.ts',
    ],
  },
});
