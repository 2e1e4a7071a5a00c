import { describe, expect, test } from 'vitest';
import { withSettingsTable } from '../../scripts/settings-table.ts';
import { loadConfig } from '../../src/config/config.ts';
import { settingsTable } from '../../src/config/settings.ts';
import { headgate } from '../support/spawned.ts';
import { read } from './markdown.ts';

const PAGE = read('docs/configuration.md');

describe('docs/configuration.md', () => {
  test('has the settings table that the source generates (npm run docs writes it)', () => {
    expect(withSettingsTable(PAGE, settingsTable())).toBe(PAGE);
  });

  const examples = [...PAGE.matchAll(/```yaml\n(.*?)```/gs)].map(([, yaml = '']) => yaml);

  test('has examples of every list that only a file can hold', () => {
    const keys = examples.flatMap((yaml) => yaml.match(/^\w+(?=:)/gm) ?? []);
    expect(keys.toSorted()).toEqual([
      'apis',
      'callers',
      'classes',
      'pathMasks',
      'queryMasks',
      'rateHeaders',
    ]);
  });

  test.each(examples)('has an example, number %#, that loads', (yaml) => {
    const loaded = loadConfig({ env: {}, configPath: 'headgate.yaml', readFile: () => yaml });
    expect(loaded).toMatchObject({ kind: 'ok' });
  });
});

describe('the example configuration', () => {
  test('passes check-config', async () => {
    const process = headgate(['check-config', '--config', 'examples/headgate.yaml']);
    expect(await process.ended()).toMatchObject({
      code: 0,
      stderr: '',
      stdout: expect.stringMatching(/^HEADGATE_MAX_WAIT +90s {2}\(file\)$/m),
    });
  });
});
