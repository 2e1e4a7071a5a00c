import { globSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { ROOT } from '../support/spawned.ts';
import { readTree } from '../support/tree.ts';
import { read } from './markdown.ts';

const { version } = JSON.parse(read('package.json'));

describe('the repository', () => {
  test('has a section of the changelog, and support, for its version', () => {
    const released = [...read('CHANGELOG.md').matchAll(/^## (\d+\.\d+\.\d+) - \d{4}-\d\d-\d\d$/gm)];
    expect(released[0]?.[1]).toBe(version);
    const minor = String(version).split('.').slice(0, 2).join('.');
    expect(read('SECURITY.md')).toMatch(new RegExp(`^\\| ${minor} +\\| yes +\\|$`, 'm'));
  });

  test('has the same version in the lock file', () => {
    const lock = readTree('package-lock.json');
    expect(lock.get('version').text()).toBe(version);
    expect(lock.get('packages').entries()[0]?.[1].get('version').text()).toBe(version);
  });

  test('has editor settings that match the formatter', () => {
    const format = readTree('.oxfmtrc.json');
    const width = format.get('printWidth').number();
    expect(read('.editorconfig')).toContain(`\nmax_line_length = ${width}\n`);
    expect(read('.editorconfig')).toContain('\nindent_size = 2\n');
  });
});

describe('the issue forms', () => {
  const forms = globSync('.github/ISSUE_TEMPLATE/*.yml', { cwd: ROOT });

  test('are for bugs and for API dialects', () => {
    expect(forms.toSorted()).toEqual([
      '.github/ISSUE_TEMPLATE/api-dialect.yml',
      '.github/ISSUE_TEMPLATE/bug.yml',
    ]);
  });

  test.each(forms)('%s has a name, a description, and a labelled field per id', (path) => {
    const form = readTree(path);
    expect(form.get('name').text()).not.toBe('');
    expect(form.get('description').text()).toMatch(/\.$/);
    const fields = form
      .get('body')
      .items()
      .filter((item) => item.get('type').text() !== 'markdown');
    const ids = fields.map((field) => field.get('id').text());
    expect(new Set(ids).size).toBe(ids.length);
    for (const field of fields) expect(field.get('attributes', 'label').text()).not.toBe('');
  });
});
