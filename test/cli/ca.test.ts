import { X509Certificate } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { run } from '../../src/cli/run.ts';
import { loadSettings } from '../support/gateway.ts';
import { headgate } from '../support/spawned.ts';

interface Printed {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function ca(args: readonly string[], env: Record<string, string> = {}): Promise<Printed> {
  let stdout = '';
  let stderr = '';
  const code = await run(['ca', ...args], {
    env,
    readFile: (path) => readFileSync(path, 'utf8'),
    stdout: (text) => (stdout += text),
    stderr: (text) => (stderr += text),
    stdin: () => process.stdin,
    stdoutStream: process.stdout,
    stderrIsTerminal: false,
    version: 'test',
    releaseSignals: () => undefined,
  });
  return { code, stdout, stderr };
}

function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'headgate-ca-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

describe('headgate ca init', () => {
  test('writes an authority for the named hosts, whose key only its user can read', async () => {
    const out = join(makeFolder(), 'new');
    const made = await ca(['init', '--hosts', 'API.example,other.example', '--out', out]);
    expect(made).toMatchObject({ code: 0, stderr: '' });
    const [cert, key] = [join(out, 'headgate-ca.crt'), join(out, 'headgate-ca.key')];
    expect(statSync(key).mode & 0o777).toBe(0o600);
    expect(new X509Certificate(readFileSync(cert)).subject).toBe('CN=Headgate CA');
    for (const client of ['curl', 'wget', 'Go', 'Terraform', 'Node', 'Python', 'Java']) {
      expect(made.stdout).toMatch(new RegExp(`^  ${client} `, 'm'));
    }
    expect(made.stdout).toContain(`HEADGATE_INTERCEPT_CA_CERT=${cert}\n`);
    const settings = loadSettings({
      HEADGATE_PRESET: 'none',
      HEADGATE_UPSTREAM_URL: 'https://api.example',
      HEADGATE_INTERCEPT: 'api.example',
      HEADGATE_INTERCEPT_CA_CERT: cert,
      HEADGATE_INTERCEPT_CA_KEY: key,
    });
    expect(settings).toMatchObject({ kind: 'ok' });
  });

  test('takes the hosts of HEADGATE_INTERCEPT, else of the APIs', async () => {
    const { openAuthority } = await import('../../src/certificates/authority.ts');
    for (const [env, names] of [
      [{}, ['api.azionapi.net']],
      [{ HEADGATE_PRESET: 'github' }, ['api.github.com']],
      [{ HEADGATE_INTERCEPT: 'a.example,b.example' }, ['a.example', 'b.example']],
    ] as const) {
      const out = makeFolder();
      expect((await ca(['init', '--out', out], { ...env })).code).toBe(0);
      const read = (name: string): string => readFileSync(join(out, name), 'utf8');
      const files = { cert: read('headgate-ca.crt'), key: read('headgate-ca.key') };
      expect(openAuthority(files, [], Date.now())).toMatchObject({ authority: { names } });
    }
  });

  test.each(['headgate-ca.crt', 'headgate-ca.key'])(
    'leaves an existing %s as it is',
    async (name) => {
      const out = makeFolder();
      writeFileSync(join(out, name), 'mine');
      const { code, stdout, stderr } = await ca(['init', '--hosts', 'a.example', '--out', out]);
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      expect(stderr).toContain(`expected no file ${join(out, name)}, got one`);
      expect(readFileSync(join(out, name), 'utf8')).toBe('mine');
      const other = name.endsWith('key') ? 'headgate-ca.crt' : 'headgate-ca.key';
      expect(existsSync(join(out, other))).toBe(false);
    },
  );

  test('names what was wrong', async () => {
    const out = makeFolder();
    const file = join(out, 'file');
    writeFileSync(file, '');
    for (const [args, code, problem] of [
      [[], 2, 'expected init or leaf after ca, got nothing'],
      [['make'], 2, 'expected init or leaf after ca, got make'],
      [['init', 'leaf'], 2, 'expected init or leaf after ca, got init leaf'],
      [
        ['init', '--hosts', '127.0.0.1', '--out', out],
        2,
        '--hosts: expected at most 100 host names',
      ],
      [['init', '--hosts', 'https://a.example', '--out', out], 2, '--hosts: expected at most'],
      [['init', '--hosts', 'a.example', '--out', file], 1, 'expected to write'],
    ] as const) {
      const made = await ca(args);
      expect([args, made.code, made.stdout]).toEqual([args, code, '']);
      expect(made.stderr).toContain(problem);
    }
  });
});

test('an authority that cannot be used ends check-config and serve with 2 and one line', async () => {
  const out = makeFolder();
  await ca(['init', '--hosts', 'other.example', '--out', out]);
  const env = {
    HEADGATE_PRESET: 'none',
    HEADGATE_UPSTREAM_URL: 'https://api.example',
    HEADGATE_LISTEN: '127.0.0.1:0',
    HEADGATE_ADMIN_LISTEN: 'off',
    HEADGATE_INTERCEPT: 'api.example',
    HEADGATE_INTERCEPT_LISTEN: '127.0.0.1:0',
    HEADGATE_INTERCEPT_CA_CERT: join(out, 'headgate-ca.crt'),
    HEADGATE_INTERCEPT_CA_KEY: join(out, 'headgate-ca.key'),
  };
  for (const command of ['check-config', 'serve']) {
    const ended = await headgate([command], { env }).ended();
    expect([command, ended.code]).toEqual([command, 2]);
    expect(ended.stderr).toBe(
      'headgate: HEADGATE_INTERCEPT_CA_CERT: expected an authority that may issue for api.example, got one for other.example alone\n',
    );
  }
});

describe('headgate ca leaf', () => {
  test('writes a certificate of the authority for a listener', async () => {
    const out = makeFolder();
    await ca(['init', '--hosts', 'api.example,other.example', '--out', out]);
    const made = await ca(['leaf', '--out', out]);
    expect(made).toMatchObject({ code: 0, stderr: '' });
    const [cert, key] = [join(out, 'headgate-server.crt'), join(out, 'headgate-server.key')];
    const certificate = new X509Certificate(readFileSync(cert));
    const authority = new X509Certificate(readFileSync(join(out, 'headgate-ca.crt')));
    expect(certificate.verify(authority.publicKey)).toBe(true);
    expect(certificate.checkHost('other.example')).toBe('other.example');
    expect(statSync(key).mode & 0o777).toBe(0o600);
    expect(loadSettings({ HEADGATE_TLS_CERT: cert, HEADGATE_TLS_KEY: key })).toMatchObject({
      kind: 'ok',
    });
    expect((await ca(['leaf', '--out', out])).stderr).toContain('expected no file');
  });

  test('needs an authority that may issue for its hosts', async () => {
    const out = makeFolder();
    expect((await ca(['leaf', '--out', out])).stderr).toContain(
      'expected the files of headgate ca init',
    );
    await ca(['init', '--hosts', 'api.example', '--out', out]);
    const made = await ca(['leaf', '--hosts', 'evil.example', '--out', out]);
    expect(made.code).toBe(1);
    expect(made.stderr).toContain('may issue for evil.example, got one for api.example alone');
    expect(existsSync(join(out, 'headgate-server.crt'))).toBe(false);
  });
});
