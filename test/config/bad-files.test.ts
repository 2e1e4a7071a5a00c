import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { loadConfig } from '../../src/config/config.ts';

/** One file per mistake. Its name states the mistake, its comments are the expected problems. */
const FOLDER = new URL('../fixtures/config-bad/', import.meta.url);
const FILES = readdirSync(FOLDER).map((file) => ({
  mistake: file.replace('.yaml', '').replaceAll('-', ' '),
  text: readFileSync(new URL(file, FOLDER), 'utf8'),
}));

function problemsOf(text: string): readonly string[] {
  const loaded = loadConfig({
    env: {},
    configPath: 'FILE',
    readFile(path) {
      if (path === 'FILE') return text;
      throw new Error(`no such file: ${path}`);
    },
  });
  return loaded.kind === 'bad' ? loaded.problems : [];
}

describe('a configuration file with a mistake', () => {
  test.each(FILES)(
    '$mistake: is reported with what was expected and the value, one line each',
    ({ text }) => {
      const expected = [...text.matchAll(/^# (.*)$/gm)].map(([, line = '']) => line);
      expect(expected.length).toBeGreaterThan(0);
      expect(problemsOf(text)).toEqual(expected);
    },
  );

  test.each(FILES)('$mistake: the problem shows no secret and no line break', ({ text }) => {
    for (const problem of problemsOf(text)) {
      expect(problem).not.toMatch(/hunter2|\n/);
    }
  });
});
