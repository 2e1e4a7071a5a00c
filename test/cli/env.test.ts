import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { run } from '../../src/cli/run.ts';
import { Certificates } from '../support/certificates.ts';
import { needs } from '../support/tools.ts';

const certificates = new Certificates();
afterAll(() => certificates.remove());

interface Printed {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function headgateEnv(
  operands: readonly string[],
  env: Readonly<Record<string, string>> = {},
  yaml?: string,
): Promise<Printed> {
  let stdout = '';
  let stderr = '';
  const code = await run(['env', ...operands], {
    env: yaml === undefined ? env : { ...env, HEADGATE_CONFIG: 'FILE' },
    readFile: (path) => (path === 'FILE' ? (yaml ?? '') : readFileSync(path, 'utf8')),
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

const AZION = 'https://api.azionapi.net';

describe('headgate env', () => {
  test.each([
    ['terraform', "export AZION_API_ENTRYPOINT='http://127.0.0.1:8080'\n"],
    ['azion-cli', "export AZIONCLI_API_URL='http://127.0.0.1:8080'\n"],
    ['node', "export HEADGATE_URL='http://127.0.0.1:8080'\n"],
    ['python', "export HEADGATE_URL='http://127.0.0.1:8080'\n"],
    ['curl', "export HEADGATE_URL='http://127.0.0.1:8080'\n"],
  ])('%s prints lines for a shell', async (client, stdout) => {
    expect(await headgateEnv([client])).toEqual({ code: 0, stdout, stderr: '' });
    const everywhere = await headgateEnv([client], { HEADGATE_LISTEN: '[::]:8080' });
    expect(everywhere.stdout).toBe(stdout);
  });

  test('names the path or the host under which each of several APIs is', async () => {
    const yaml = `listen: 127.0.0.1:80
apis:
  azion: {preset: azion, match: {path: /v3/**}}
  azion-v4: {preset: azion-v4}
  git-hub: {preset: github, match: {host: github.internal}}
`;
    expect((await headgateEnv(['azion-cli'], {}, yaml)).stdout).toBe(
      "export AZIONCLI_API_URL='http://127.0.0.1/v3'\nexport AZIONCLI_API_V4_URL='http://127.0.0.1'\n",
    );
    expect((await headgateEnv(['node'], {}, yaml)).stdout).toBe(
      [
        "export HEADGATE_URL_AZION='http://127.0.0.1/v3'",
        "export HEADGATE_URL_AZION_V4='http://127.0.0.1'",
        "export HEADGATE_URL_GIT_HUB='http://github.internal'",
        '',
      ].join('\n'),
    );
  });

  test(
    'over TLS, names the file of a certificate that issued itself',
    { tags: needs('openssl') },
    async () => {
      const { certPath, keyPath } = certificates.make('DNS:localhost');
      const env = { HEADGATE_TLS_CERT: certPath, HEADGATE_TLS_KEY: keyPath };
      expect((await headgateEnv(['node'], env)).stdout).toBe(
        `export HEADGATE_URL='https://127.0.0.1:8080'\nexport NODE_EXTRA_CA_CERTS='${certPath}'\n`,
      );
    },
  );

  test.each<[readonly string[], Readonly<Record<string, string>>, number, RegExp]>([
    [[], {}, 2, /^headgate: expected one of terraform, azion-cli, .*curl after env, got nothing$/m],
    [['ruby'], {}, 2, /got ruby$/m],
    [['node', 'curl'], {}, 2, /got node curl$/m],
    [['node'], { HEADGATE_LISTEN: '127.0.0.1:0' }, 1, /HEADGATE_LISTEN: .* got port 0$/m],
    [['curl'], { HEADGATE_LISTEN: 'unix:/run/h.sock' }, 1, /got unix:\/run\/h\.sock$/m],
    [
      ['terraform'],
      { HEADGATE_PRESET: 'none', HEADGATE_UPSTREAM_URL: AZION },
      1,
      /expected an API whose preset knows a variable of terraform .*, got none$/m,
    ],
  ])('%j with %j is refused', async (operands, env, code, stderr) => {
    const printed = await headgateEnv(operands, env);
    expect([printed.code, printed.stdout]).toEqual([code, '']);
    expect(printed.stderr).toMatch(stderr);
  });
});
