import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { loadConfig } from '../../src/config/config.ts';
import { COMMANDS } from '../../src/cli/run.ts';
import { ROOT } from '../support/spawned.ts';
import { readTree } from '../support/tree.ts';

const text = readFileSync(`${ROOT}Dockerfile`, 'utf8').replaceAll('\\\n', ' ');
const stages = text.split(/^(?=FROM )/m).slice(1);
const image = stages.at(-1) ?? '';
const project = readTree('package.json');

/** The arguments of an instruction in the last stage. */
function instruction(name: string): string {
  const found = new RegExp(`^${name} +(.+)$`, 'm').exec(image);
  if (found === null) throw new Error(`the image has no ${name}`);
  return found[1] ?? '';
}

/** Parses a command in exec form, which starts no shell. */
function exec(text: string): string[] {
  const words: unknown = JSON.parse(text);
  if (!Array.isArray(words)) throw new Error(`expected a list, got ${text}`);
  return words.map(String);
}

describe('the Dockerfile', () => {
  test('builds on the Node that the tests run on', () => {
    const major = readTree('scripts/node/package.json').get('version').text().split('.')[0];
    const [base = '', ...others] = stages;
    expect(base).toContain(`FROM node:${major}-bookworm-slim`);
    for (const stage of others) expect(stage).toMatch(/^FROM base\b/);
  });

  test('copies only production dependencies into the image', () => {
    const dependencies = stages.find((stage) => stage.startsWith('FROM base AS dependencies'));
    expect(dependencies).toContain('npm ci --ignore-scripts --omit=dev');
    const sources = [...image.matchAll(/^COPY (.+)$/gm)].map(([, what]) => what);
    expect(sources).toEqual([
      '--from=dependencies /app/node_modules node_modules',
      '--from=build /app/dist dist',
      'package.json ./',
    ]);
  });

  test('copies files that exist, and that .dockerignore does not hide', () => {
    const ignored = readFileSync(`${ROOT}.dockerignore`, 'utf8');
    const seen = new Set([...ignored.matchAll(/^!(.+)$/gm)].map(([, path]) => path));
    const copied = [...text.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, what = '']) =>
      what.split(' '),
    );
    expect(copied).toContain('src');
    expect(copied.filter((path) => !existsSync(`${ROOT}${path}`))).toEqual([]);
    expect(copied.filter((path) => !seen.has(path))).toEqual([]);
    const [, script = ''] = /node (\S+)/.exec(project.get('scripts', 'build').text()) ?? [];
    expect(copied).toContain(script);
  });

  test('runs as a numeric user, and stops with the signal that drains', () => {
    expect(instruction('USER')).toMatch(/^[1-9]\d*:[1-9]\d*$/);
    expect(instruction('STOPSIGNAL')).toBe('SIGTERM');
  });

  test('starts and checks itself with commands that exist', () => {
    const names = COMMANDS.map(({ name }) => name);
    expect(exec(instruction('ENTRYPOINT'))).toEqual(['node', '/app/dist/main.js']);
    expect(names).toContain(exec(instruction('CMD'))[0]);
    const [, check = ''] = instruction('HEALTHCHECK').split('CMD ');
    const [node, main, command = ''] = exec(check);
    expect([node, main]).toEqual(['node', '/app/dist/main.js']);
    expect(names).toContain(command);
  });

  test('sets only valid settings, and listens on all addresses', () => {
    const pairs = instruction('ENV')
      .split(/\s+/)
      .map((pair) => pair.split('='));
    const env = Object.fromEntries(pairs.map(([name = '', value = '']) => [name, value]));
    const loaded = loadConfig({ env, readFile: () => '' });
    if (loaded.kind === 'bad') throw new Error(loaded.problems.join('\n'));
    expect(loaded.config.listen).toEqual({ host: '::', port: 8080 });
    expect(loaded.config.adminListen).toEqual({ host: '::', port: 8081 });
  });

  test('is labelled with the version, the license and the source of the project', () => {
    expect(image).toContain(`ARG VERSION=${project.get('version').text()}\n`);
    expect(image).toContain('org.opencontainers.image.source="${SOURCE}"');
    expect(image).toContain(`image.licenses="${project.get('license').text()}"`);
  });
});
