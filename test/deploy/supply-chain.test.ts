import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ROOT } from '../support/spawned.ts';
import { readTree, type Tree } from '../support/tree.ts';

const project = readTree('package.json');
const packages = readTree('package-lock.json').get('packages').entries();
const lock = new Map(packages);
const dockerfile = readFileSync(`${ROOT}Dockerfile`, 'utf8');
const workflows = globSync('.github/workflows/*.yml', { cwd: ROOT });

/** The packages of the project's own Node, with their versions. */
const nodes = readTree('scripts/node/package.json').get('optionalDependencies').entries();

function steps(workflow: string): Tree[] {
  const jobs = readTree(workflow).get('jobs').entries();
  return jobs.flatMap(([, job]) => job.get('steps').items());
}

function commands(workflow: string): string[] {
  return steps(workflow).flatMap((step) => step.maybe('run')?.text() ?? []);
}

describe('the lock file', () => {
  test('pins the project’s own Node by hash, for every platform', () => {
    expect(lock.get('node_modules/project-node')?.value).toEqual({
      resolved: 'scripts/node',
      link: true,
    });
    const { version } = Object(readTree('scripts/node/package.json').value);
    const platforms = nodes.map(([name, wanted]) => {
      const locked = lock.get(`node_modules/${name}`);
      expect([name, wanted.text()]).toEqual([name, version]);
      expect(locked?.value).toMatchObject({
        version,
        dev: true,
        optional: true,
        integrity: expect.stringMatching(/^sha512-[\w+/]{86}==$/),
      });
      return `${locked?.get('os').text()} ${locked?.get('cpu').text()}`;
    });
    expect(platforms.toSorted()).toEqual([
      'darwin arm64',
      'darwin x64',
      'linux arm64',
      'linux x64',
      'win32 x64',
    ]);
  });

  test('has the hash of every package from a registry, and no package with an install script', () => {
    const ours = new Set([
      '',
      'scripts/node',
      'node_modules/project-node',
      'scripts/lua',
      'node_modules/@headgate/lua',
    ]);
    const others = packages.filter(([path]) => !ours.has(path));
    const unpinned = others.filter(
      ([, locked]) => locked.maybe('integrity')?.text().startsWith('sha512-') !== true,
    );
    expect(unpinned.map(([path]) => path)).toEqual([]);
    const scripted = packages.filter(
      ([, locked]) => locked.maybe('hasInstallScript') !== undefined,
    );
    expect(scripted.map(([path]) => path)).toEqual([]);
  });
});

describe('the project’s own Node', () => {
  test('is the pinned one', () => {
    const printed = execFileSync(`${ROOT}node_modules/.bin/node`, ['--version'], {
      encoding: 'utf8',
    });
    expect(nodes.map(([, version]) => `v${version.text()}\n`)).toContain(printed);
  });

  test('is checked before the tests, with a clear error where npm did not install it', () => {
    const folder = mkdtempSync(join(tmpdir(), 'headgate-node-'));
    try {
      mkdirSync(join(folder, 'scripts'));
      cpSync(`${ROOT}scripts/node-library.sh`, join(folder, 'scripts/node-library.sh'));
      expect(() =>
        execFileSync('sh', ['scripts/node-library.sh'], { cwd: folder, stdio: 'pipe' }),
      ).toThrow(/node_modules\/\.bin\/node is missing: run npm ci/);
    } finally {
      rmSync(folder, { recursive: true });
    }
    expect(project.get('scripts', 'test').text()).toMatch(/^sh scripts\/node-library\.sh && /);
  });
});

test('npm runs no install script, so the project has no script that npm would skip', () => {
  expect(readFileSync(`${ROOT}.npmrc`, 'utf8')).toMatch(/^ignore-scripts=true$/m);
  const names = project
    .get('scripts')
    .entries()
    .map(([name]) => name);
  const hooks = names.filter((name) =>
    names.some((other) => name === `pre${other}` || name === `post${other}`),
  );
  expect(hooks).toEqual([]);
  expect(
    names.filter((name) => /^(?:pre|post)?(?:install|pack|publish|prepare)$/.test(name)),
  ).toEqual([]);
});

describe('the Dockerfile', () => {
  test('runs no install script, and only the image’s own Node', () => {
    const installs = dockerfile.match(/^RUN npm ci\b.*/gm) ?? [];
    expect(installs.length).toBe(2);
    for (const install of installs) expect(install).toContain(' --ignore-scripts ');
    expect(dockerfile).not.toMatch(/\bnpm run\b|\bnpx\b|node_modules\/\.bin/);
  });

  test('takes one image from outside, which scripts/pin-base-image.sh pins by digest', () => {
    const sources = [...dockerfile.matchAll(/^FROM (\S+)/gm)].map(([, image = '']) => image);
    // A syntax line would name an image that builds this one.
    expect(dockerfile).not.toMatch(/^# *syntax/m);
    const outside = sources.filter((image) => image !== 'base');
    expect(outside.map((image) => image.replace(/@sha256:[0-9a-f]{64}$/, ''))).toEqual([
      'node:26-bookworm-slim',
    ]);

    const folder = mkdtempSync(join(tmpdir(), 'headgate-pin-'));
    try {
      mkdirSync(join(folder, 'scripts'));
      cpSync(`${ROOT}scripts/pin-base-image.sh`, join(folder, 'scripts/pin-base-image.sh'));
      writeFileSync(join(folder, 'Dockerfile'), dockerfile);
      // In place of Docker: it prints what the registry would report.
      const docker = join(folder, 'docker');
      const pin = (reported: string): string => {
        writeFileSync(docker, `#!/bin/sh\necho "$@" >>calls\necho '${reported}'\n`);
        chmodSync(docker, 0o755);
        const PATH = `${folder}:${process.env['PATH'] ?? ''}`;
        execFileSync('sh', ['scripts/pin-base-image.sh'], {
          cwd: folder,
          env: { PATH },
          stdio: 'pipe',
        });
        return readFileSync(join(folder, 'Dockerfile'), 'utf8');
      };
      for (const digit of ['a', '7']) {
        const digest = `sha256:${digit.repeat(64)}`;
        const pinned = pin(digest);
        expect(pinned.split('\n').filter((line) => line.startsWith('FROM node'))).toEqual([
          `FROM node:26-bookworm-slim@${digest} AS base`,
        ]);
      }
      expect(readFileSync(join(folder, 'calls'), 'utf8')).toContain(
        'buildx imagetools inspect node:26-bookworm-slim --format {{.Manifest.Digest}}\n',
      );
      expect(() => pin('latest')).toThrow('expected a digest');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('the workflows', () => {
  test('are for the check, the audit and the release', () => {
    expect(workflows.toSorted()).toEqual([
      '.github/workflows/audit.yml',
      '.github/workflows/ci.yml',
      '.github/workflows/release.yml',
    ]);
    expect(commands('.github/workflows/ci.yml')).toContain('bash .ci/run');
  });

  test.each(workflows)('%s pins every action by commit, and may only read by default', (path) => {
    const uses = steps(path).flatMap((step) => step.maybe('uses')?.text() ?? []);
    expect(uses.length).toBeGreaterThan(0);
    for (const action of uses) expect(action).toMatch(/^[\w-]+\/[\w-]+@[0-9a-f]{40}$/);
    expect(readTree(path).get('permissions').value).toEqual({ contents: 'read' });
    // An expression in a command would be replaced before the shell reads it.
    expect(commands(path).filter((command) => command.includes('${{'))).toEqual([]);
    const checkouts = steps(path).filter((step) =>
      step.maybe('uses')?.text().startsWith('actions/checkout@'),
    );
    for (const checkout of checkouts) {
      expect(checkout.get('with', 'persist-credentials').value).toBe(false);
    }
  });

  test('audit daily and at each change of the lock file, and scan the image', () => {
    const path = '.github/workflows/audit.yml';
    const when = readTree(path).get('on');
    expect(when.get('schedule', 0, 'cron').text()).toMatch(/^\d+ \d+ \* \* \*$/);
    for (const event of ['push', 'pull_request']) {
      expect(when.get(event, 'paths').value).toContain('package-lock.json');
    }
    expect(commands(path)).toEqual(
      expect.arrayContaining([
        'npm ci --ignore-scripts',
        'npm audit signatures',
        'npm audit --omit=dev',
      ]),
    );
    const scan = steps(path).find((step) => step.maybe('uses')?.text().includes('/scan-action@'));
    expect(scan?.get('with').value).toMatchObject({
      image: 'headgate:scan',
      'severity-cutoff': 'high',
    });
  });

  test('release an image only when it is pinned and scanned, and sign it before it has a tag', () => {
    const path = '.github/workflows/release.yml';
    const order = steps(path).map(
      (step) => step.maybe('run')?.text() ?? step.maybe('uses')?.text() ?? '',
    );
    const at = [
      '@sha256:',
      'push-by-digest=true',
      'scan-action@',
      'cosign sign',
      'attest-build-provenance@',
      'imagetools create',
    ].map((text) => order.findIndex((step) => step.includes(text)));
    expect(at).not.toContain(-1);
    expect(order.find((step) => step.includes('push-by-digest=true'))).toMatch(
      /--provenance mode=max --sbom true/,
    );
    expect(at).toEqual(at.toSorted((a, b) => a - b));
    const [, job] = readTree(path).get('jobs').entries()[0] ?? [];
    expect(job?.get('permissions').value).toEqual({
      contents: 'read',
      packages: 'write',
      'id-token': 'write',
      attestations: 'write',
    });
  });

  test('and Dependabot keeps packages, actions and the base image up to date', () => {
    const updates = readTree('.github/dependabot.yml').get('updates').items();
    expect(updates.map((update) => update.get('package-ecosystem').text()).toSorted()).toEqual([
      'docker',
      'github-actions',
      'npm',
    ]);
  });
});
