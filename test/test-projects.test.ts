import { describe, expect, test } from 'vitest';
import { readSource } from './support/source-files.ts';
import { LONGEST, projectOf, testProjects, type TestProject } from './support/test-projects.ts';

const SUPPORT: Readonly<Record<string, string>> = {
  'test/support/gateway.ts': "import { createServer } from 'node:http';",
  'test/support/redis-server.ts': "import { spawn } from 'node:child_process';",
  'test/support/setup.ts': "import { startGateway } from './gateway.ts';",
  'test/support/fake-clock.ts': '',
};

function projectFor(text: string): TestProject {
  const files: Readonly<Record<string, string>> = { ...SUPPORT, 'test/room/x.test.ts': text };
  return projectOf('test/room/x.test.ts', (path) => {
    const found = files[path];
    return found === undefined ? undefined : readSource(path, found);
  });
}

describe('a test belongs to the project of the heaviest thing that it uses', () => {
  test.each<[string, string, TestProject]>([
    ['pure code', "import { FakeClock } from '../support/fake-clock.ts';", 'unit'],
    ['the types of a server', "import type { Server } from 'node:http';", 'unit'],
    ['files', "import { readFileSync } from 'node:fs';", 'integration'],
    ['Redis', "import { startRedis } from '../support/redis-server.ts';", 'integration'],
    ['a whole gateway', "import { startGateway } from '../support/gateway.ts';", 'e2e'],
    ['a helper that starts one', "import { setUp } from '../support/setup.ts';", 'e2e'],
  ])('%s', (_what, text, project) => {
    expect(projectFor(text)).toBe(project);
  });
});

test('the files that are started first exist', () => {
  expect(Object.values(testProjects()).flat()).toEqual(expect.arrayContaining([...LONGEST]));
});

test('no project is empty', () => {
  const sizes = Object.values(testProjects()).map((files) => files.length);
  expect(Math.min(...sizes)).toBeGreaterThan(10);
});
