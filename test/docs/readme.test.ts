import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { withSettingsTable } from '../../scripts/settings-table.ts';
import { COMMANDS } from '../../src/cli/run.ts';
import { loadConfig } from '../../src/config/config.ts';
import { settingsTable } from '../../src/config/settings.ts';
import { headgate } from '../support/spawned.ts';
import { setUp } from '../support/setup.ts';
import { codeWords, read, section, tableRows } from './markdown.ts';

const README = read('README.md');

describe('the README', () => {
  test('has the settings table that the source makes (npm run docs writes it)', () => {
    expect(withSettingsTable(README, settingsTable())).toBe(README);
  });

  test('names only npm scripts that there are', () => {
    const { scripts } = z
      .object({ scripts: z.record(z.string(), z.string()) })
      .parse(JSON.parse(read('package.json')));
    const named = [...README.matchAll(/npm run ([a-z:-]+)/g)].map(([, name = '']) => name);
    expect(named).toContain('demo');
    expect(named.filter((name) => !Object.hasOwn(scripts, name))).toEqual([]);
  });

  test('names every command', () => {
    const rows = tableRows(section(README, '### On the command line'));
    const named = rows.flatMap(([command = '']) => codeWords(command));
    expect(named.toSorted()).toEqual(COMMANDS.map(({ name }) => name).toSorted());
  });

  test('explains every field of a call’s line, and shows no other', async () => {
    const { azion, gateway } = await setUp();
    await fetch(`${gateway.url}/domains`, { headers: { authorization: 'token t' } });
    await fetch(`${gateway.url}/domains`, { headers: { 'headgate-priority': 'urgent' } });
    const lines = await gateway.log.wait('call', 2);
    expect(azion.operations).toBe(1);
    const fields = new Set(lines.flatMap((line) => Object.keys(line)));
    const log = section(README, '### The log');
    const explained = tableRows(log).flatMap(([field = '']) => codeWords(field));
    expect(explained.toSorted()).toEqual([...fields].toSorted());
    const example = /^\{.*\}$/m.exec(log)?.[0] ?? '';
    const [answered = {}] = lines;
    expect(Object.keys(JSON.parse(example))).toEqual(Object.keys(answered));
  });
});

describe('the example configuration', () => {
  test('passes check-config', async () => {
    const process = headgate(['check-config', '--config', 'docs/examples/headgate.yaml']);
    expect(await process.ended()).toMatchObject({
      code: 0,
      stderr: '',
      stdout: expect.stringMatching(/^HEADGATE_MAX_WAIT +90s {2}\(file\)$/m),
    });
  });

  test.each([...README.matchAll(/```yaml\n(.*?)```/gs)].map(([, yaml = '']) => yaml))(
    'in the README, number %#, is understood',
    (yaml) => {
      const loaded = loadConfig({ env: {}, configPath: 'headgate.yaml', readFile: () => yaml });
      expect(loaded).toMatchObject({ kind: 'ok' });
    },
  );
});
