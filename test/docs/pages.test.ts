import { globSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { COMMANDS } from '../../src/cli/run.ts';
import { GatewayError, toProblem } from '../../src/gateway/problem.ts';
import { PRESETS } from '../../src/presets/presets.ts';
import { ask } from '../support/ask.ts';
import { setUp } from '../support/setup.ts';
import { ROOT } from '../support/spawned.ts';
import { codeWords, read, section, tableRows } from './markdown.ts';

const PAGES = globSync(['*.md', 'docs/*.md', 'bench/*.md', 'examples/*.md'], { cwd: ROOT });

/** The targets of the links in a page. */
function linksIn(page: string): Set<string> {
  return new Set([...read(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, to = '']) => to));
}

/** Returns the texts that `pattern` finds in the pages, each with its page. */
function shown(pattern: RegExp): [page: string, text: string][] {
  return PAGES.flatMap((page) =>
    [...read(page).matchAll(pattern)].map(([text]): [string, string] => [page, text]),
  );
}

describe('docs/README.md', () => {
  test('lists every page of docs', () => {
    const links = linksIn('docs/README.md');
    const pages = globSync(['*.md', '*.json', '*/README.md'], { cwd: `${ROOT}docs` });
    expect(pages.length).toBeGreaterThan(14);
    expect(pages.filter((page) => page !== 'README.md' && !links.has(page))).toEqual([]);
  });
});

describe('docs/decisions/README.md', () => {
  test('lists every decision', () => {
    const links = linksIn('docs/decisions/README.md');
    const records = globSync('0*.md', { cwd: `${ROOT}docs/decisions` });
    expect(records.length).toBeGreaterThan(10);
    expect(records.filter((record) => !links.has(record))).toEqual([]);
  });
});

describe('docs/operating.md', () => {
  test('names every command', () => {
    const rows = tableRows(section(read('docs/operating.md'), '## On the command line'));
    const named = rows.flatMap(([command = '']) => codeWords(command));
    expect(named.toSorted()).toEqual(COMMANDS.map(({ name }) => name).toSorted());
  });
});

/** The rows of the table in docs/presets.md, as the presets determine them. */
function presetRows(): string[][] {
  return [...PRESETS].map(([name, { upstreamUrl, apiVersion, tokenHeader, classes }]) => {
    const [header = '', scheme] = (tokenHeader ?? 'Authorization token').split(' ');
    const last = classes.at(-1);
    const hasOthers = last === undefined || last.path !== undefined || last.methods !== undefined;
    const row = [name, upstreamUrl ?? 'HEADGATE_UPSTREAM_URL'];
    if (apiVersion !== undefined) {
      row.push(apiVersion.kind === 'field' ? apiVersion.name : 'Accept');
    }
    row.push(`${header}: ${scheme === undefined ? '' : `${scheme} `}…`);
    const names = classes.map((rule) => rule.name);
    if (hasOthers) names.push('all');
    return row.concat([...new Set(names)]);
  });
}

describe('docs/presets.md', () => {
  test('has the address, the version header, the token and the classes of every preset', () => {
    const [page = ''] = read('docs/presets.md').split('\n## ', 1);
    expect(tableRows(page).map((cells) => cells.flatMap(codeWords))).toEqual(presetRows());
  });
});

describe('the pages', () => {
  test('name only npm scripts that exist', () => {
    const { scripts } = z
      .object({ scripts: z.record(z.string(), z.string()) })
      .parse(JSON.parse(read('package.json')));
    const named = PAGES.filter((page) => page !== 'CONTRIBUTING.md').flatMap((page) =>
      [...read(page).matchAll(/npm run (?:-s )?([a-z0-9:-]+)/g)].map(([, name = '']) => name),
    );
    expect(named).toEqual(expect.arrayContaining(['demo', 'simulator', 'docs', 'bench']));
    expect(named.filter((name) => !Object.hasOwn(scripts, name))).toEqual([]);
  });

  const problems = shown(/\{\s*"type".*?\n?\}(?=\n```)/gs);

  test('show a problem', () => {
    expect(problems.map(([page]) => page)).toContain('docs/errors.md');
  });

  test.each(problems)('show problems as the gateway writes them: %s', (_page, text) => {
    const { code, detail, requestId } = JSON.parse(text);
    expect(code).toBe('wait-too-long');
    const error = new GatewayError('wait-too-long', detail, { retryAfterMs: 41_500 });
    expect(JSON.parse(toProblem(error, requestId, 503).body)).toEqual(JSON.parse(text));
  });

  test('show call lines with the fields of a real one, in their order', async () => {
    const lines = shown(/^\{"level".*"msg":"call"\}$/gm);
    expect(lines.map(([page]) => page).toSorted()).toEqual(['README.md', 'docs/logs.md']);
    const { gateway } = await setUp();
    await ask(`${gateway.url}/domains`, { headers: { authorization: 'token t' } });
    const [logged = {}] = await gateway.log.wait('call', 1);
    for (const [page, text] of lines) {
      expect([page, Object.keys(JSON.parse(text))]).toEqual([page, Object.keys(logged)]);
    }
  });
});
