import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { manPage } from '../../scripts/man-page.ts';
import { settingsSchema } from '../../scripts/settings-schema.ts';
import { settingsTable, withSettingsTable } from '../../scripts/settings-table.ts';
import { loadConfig } from '../../src/config/config.ts';
import { headgate } from '../support/spawned.ts';
import { read } from './markdown.ts';

const PAGE = read('docs/configuration.md');

describe('docs/configuration.md', () => {
  const examples = [...PAGE.matchAll(/```yaml\n(.*?)```/gs)].map(([, yaml = '']) => yaml);

  test('has the settings table that the source generates (npm run docs writes it)', () => {
    expect(withSettingsTable(PAGE, settingsTable())).toBe(PAGE);
  });

  test('has a JSON Schema beside it that the source generates (npm run docs writes it)', () => {
    expect(JSON.parse(read('docs/headgate.schema.json'))).toEqual(
      JSON.parse(JSON.stringify(settingsSchema())),
    );
  });

  test('has examples that the schema accepts, and a schema that sees a misspelt key', () => {
    const validate = new Ajv2020({ strict: false }).compile(settingsSchema());
    const good = [...examples, read('examples/headgate.yaml')];
    for (const yaml of good) {
      expect([validate(parse(yaml)), validate.errors]).toEqual([true, null]);
    }
    expect(validate({ maxWiat: '2m' })).toBe(false);
    expect(validate({ retries: 11 })).toBe(false);
    expect(validate({ classes: [{ methods: ['GET'] }] })).toBe(false);
  });

  test('has a manual page beside it that the source generates (npm run docs writes it)', () => {
    expect(read('docs/headgate.1')).toBe(manPage());
  });

  test('has examples of every list that only a file can hold', () => {
    const keys = new Set(examples.flatMap((yaml) => yaml.match(/^\w+(?=:)/gm) ?? []));
    expect([...keys].toSorted()).toEqual([
      'accounts',
      'apis',
      'callers',
      'classes',
      'credentials',
      'limits',
      'pathMasks',
      'queryMasks',
      'rateHeaders',
    ]);
  });

  test.each(examples)('has an example, number %#, that loads', (yaml) => {
    const env = {
      HEADGATE_SECRET: 'a-secret-of-the-test',
      HEADGATE_CALLER_KEYS: 'nightly-sync=a-key-of-the-test,deploy=another-key-of-it',
    };
    const loaded = loadConfig({ env, configPath: 'headgate.yaml', readFile: () => yaml });
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
