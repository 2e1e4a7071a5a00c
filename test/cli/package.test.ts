// @module-tag needs-git
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startApi } from '../support/api.ts';
import { ask } from '../support/ask.ts';
import { ROOT, Spawned } from '../support/spawned.ts';

/** Tests of the packed package. It is unpacked below node_modules, where it finds its dependencies. */

let folder = '';
let files: readonly string[] = [];

beforeAll(() => {
  mkdirSync(`${ROOT}node_modules/.cache`, { recursive: true });
  folder = mkdtempSync(`${ROOT}node_modules/.cache/package-`);
  execFileSync(
    'npm',
    ['run', '--silent', 'package', '--', '--silent', '--pack-destination', folder],
    {
      cwd: ROOT,
    },
  );
  const { version } = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8'));
  execFileSync('tar', ['-xzf', `headgate-${String(version)}.tgz`], { cwd: folder });
  files = execFileSync('tar', ['-tzf', `headgate-${String(version)}.tgz`], {
    cwd: folder,
    encoding: 'utf8',
  })
    .trim()
    .split('\n')
    .map((path) => path.replace(/^package\//, ''));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the package', () => {
  test('contains the program and its documentation, but no sources, tests or scripts', () => {
    for (const file of ['dist/main.js', 'package.json', 'README.md', 'LICENSE', 'CHANGELOG.md']) {
      expect(files).toContain(file);
    }
    expect(
      files.filter((file) => /^(?:src|test|demo|bench|scripts|node_modules)\//.test(file)),
    ).toEqual([]);
  });

  test('has a manual page, which npm links if it is in a list', () => {
    const { man } = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8'));
    expect(man).toEqual(['./docs/headgate.1']);
    expect(files).toContain('docs/headgate.1');
  });

  test('contains the compiled form of every source, and every file that the sources read', () => {
    const sources = execFileSync('git', ['ls-files', 'src'], { cwd: ROOT, encoding: 'utf8' });
    const expected = sources
      .trim()
      .split('\n')
      .map((file) => file.replace(/^src/, 'dist').replace(/\.ts$/, '.js'));
    expect(files).toEqual(expect.arrayContaining(expected));
  });

  test('runs from plain JavaScript: it prints its version, and serves', async () => {
    const program = `${folder}/package/dist/main.js`;
    const { version } = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8'));
    const printed = new Spawned(process.execPath, [program, '--version'], {});
    expect(await printed.ended()).toMatchObject({ code: 0, stdout: `${String(version)}\n` });

    const serving = new Spawned(process.execPath, [program, 'serve'], {
      env: { HEADGATE_LISTEN: '127.0.0.1:0', HEADGATE_ADMIN_LISTEN: '127.0.0.1:0' },
    });
    try {
      const [, adminUrl = ''] = await serving.printed(/"adminUrl":"([^"]+)"/);
      expect((await ask(`${adminUrl}/health/ready`)).status).toBe(200);
      serving.kill('SIGTERM');
      expect(await serving.ended()).toMatchObject({ code: 0, stderr: '' });
    } finally {
      await serving.stop();
    }
  });

  test('gives applications headgate/hono, as the example shows', async () => {
    const api = await startApi((_incoming, outgoing) => outgoing.end('from the API'));
    const env = { API_URL: api.url, PORT: '0' };
    const app = new Spawned(process.execPath, [`${folder}/package/examples/hono/app.mjs`], { env });
    try {
      const [, url = ''] = await app.printed(/listening on (http:\S+)/);
      expect((await ask(`${url}/`)).text).toBe('an application of your own');
      expect((await ask(`${url}/azion/domains`)).text).toBe('from the API');
      expect((await ask(`${url}/other/items`)).text).toBe('from the API');
      expect(api.seen.map(({ url: sent }) => sent)).toEqual(['/domains', '/items']);
      expect(api.seen[0]?.headers['accept']).toContain('version=3');
      app.kill('SIGTERM');
      expect(await app.ended()).toMatchObject({ code: 0, stderr: '' });
    } finally {
      await app.stop();
      await api.close();
    }
  });
});
