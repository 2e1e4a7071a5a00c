// @module-tag needs-git
import { execFileSync } from 'node:child_process';
import { existsSync, globSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ROOT } from '../support/spawned.ts';
import { read } from './markdown.ts';

function tracked(...patterns: string[]): string[] {
  const files = execFileSync('git', ['ls-files', '--', ...patterns], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  return files.trim().split('\n');
}

/** Returns the anchors of a page's headings, as common Markdown renderers build them. */
function anchors(markdown: string): string[] {
  return [...markdown.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

describe('the documentation', () => {
  test('links to files and sections that exist', () => {
    const broken = tracked('*.md').flatMap((file) => {
      const links = [...read(file).matchAll(/\]\(([^)\s]+)\)/g)].map(([, to = '']) => to);
      return links.filter((to) => !isThere(file, to)).map((to) => `${file}: ${to}`);
    });
    expect(broken).toEqual([]);
  });

  test('has every page that the sources mention', () => {
    const missing = tracked('src').flatMap((file) => {
      const pages = [...read(file).matchAll(/docs\/[a-z-]+(?:\.md|\/\d{4})/g)].map(
        ([page]) => page,
      );
      const isMissing = (page: string): boolean => globSync(`${page}*`, { cwd: ROOT }).length === 0;
      return pages.filter(isMissing).map((page) => `${file}: ${page}`);
    });
    expect(missing).toEqual([]);
  });
});

function isThere(from: string, to: string): boolean {
  if (/^https?:\/\//.test(to)) return true;
  const [path = '', anchor] = to.split('#');
  const target = path === '' ? from : join(dirname(from), path);
  if (!existsSync(`${ROOT}${target}`)) return false;
  return anchor === undefined || anchors(read(target)).includes(anchor);
}
