import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { RELOADABLE_SETTINGS } from '../../src/config/reload.ts';
import { codeWords, read, section, tableRows } from '../docs/markdown.ts';

const lock = z
  .object({
    packages: z.record(
      z.string(),
      z.object({
        dev: z.boolean().optional(),
        license: z.string().optional(),
        hasInstallScript: z.boolean().optional(),
        integrity: z.string().optional(),
        link: z.boolean().optional(),
      }),
    ),
  })
  .parse(JSON.parse(read('package-lock.json')));

const production = Object.entries(lock.packages)
  // The project's own folders, and the links to them, are no packages of others.
  .filter(
    ([path, { dev, link }]) => path.includes('node_modules/') && dev !== true && link !== true,
  )
  .map(([path, facts]) => ({ facts, name: path.replace(/^.*node_modules\//, '') }));

describe('the production dependencies', () => {
  test('are all in docs/security.md, each with its purpose, and no other package is', () => {
    const rows = tableRows(section(read('docs/security.md'), '## Production dependencies'));
    const listed = rows.map(([name = '']) => codeWords(name).join(' '));
    expect(listed.toSorted()).toEqual([...new Set(production.map(({ name }) => name))].toSorted());
    expect(rows.filter(([, why = '']) => why === '')).toEqual([]);
  });

  test('run no install script, and are pinned by hash', () => {
    expect(production.filter(({ facts }) => facts.hasInstallScript === true)).toEqual([]);
    expect(
      production.filter(({ facts }) => facts.integrity?.startsWith('sha512-') !== true),
    ).toEqual([]);
  });

  test('have the licences that docs/security.md lists', () => {
    const licences = new Set(production.map(({ facts }) => facts.license ?? 'none'));
    const page = section(read('docs/security.md'), '## Production dependencies');
    expect([...licences].filter((licence) => !page.includes(licence))).toEqual([]);
  });
});

test('docs/operating.md lists exactly the settings that can change at run time', () => {
  const [, list = ''] = /<!-- live -->(.*)<!-- \/live -->/s.exec(read('docs/operating.md')) ?? [];
  expect(codeWords(list).toSorted()).toEqual(Object.values(RELOADABLE_SETTINGS).toSorted());
});
