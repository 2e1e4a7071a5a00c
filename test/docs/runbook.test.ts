import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { globSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGatewayProcess } from '../support/gateway-process.ts';
import { logLines } from '../support/log-fixtures.ts';
import { ROOT, Spawned } from '../support/spawned.ts';
import { needs } from '../support/tools.ts';
import { read } from './markdown.ts';

const lines = [...read('docs/runbook.md').matchAll(/^```sh\n(.*?)^```$/gms)].flatMap(
  ([, block = '']) => block.trim().split('\n'),
);
const ADMIN_TOKEN = 'from-openssl-rand-base64';

describe('the commands of the runbook', () => {
  let folder: string;
  let gateway: Awaited<ReturnType<typeof startGatewayProcess>>;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'headgate-runbook-'));
    await writeFile(join(folder, 'calls.log'), `${logLines(3000).join('\n')}\n`);
    const command = join(folder, 'headgate');
    await writeFile(command, `#!/bin/sh\nexec '${process.execPath}' '${ROOT}src/main.ts' "$@"\n`);
    await chmod(command, 0o755);
    gateway = await startGatewayProcess({
      upstream: 'http://127.0.0.1:9',
      settings: { HEADGATE_ADMIN_TOKEN: ADMIN_TOKEN },
    });
  });
  afterAll(async () => {
    await gateway.stop();
    await rm(folder, { recursive: true });
  });

  const runnable = lines.filter((line) => /^(?:headgate|jq|curl) /.test(line));

  test('are read', () => expect(runnable.length).toBeGreaterThan(5));

  test.each(runnable)(
    'run as they are written: %s',
    { tags: needs('jq', 'curl') },
    async (line) => {
      const script = line.replaceAll('http://127.0.0.1:8081', gateway.adminUrl);
      const { PATH = '' } = process.env;
      const env = {
        PATH: `${folder}${delimiter}${PATH}`,
        HEADGATE_ADMIN_TOKEN: ADMIN_TOKEN,
        TZ: 'UTC',
      };
      const ended = await new Spawned('bash', ['-o', 'pipefail', '-c', script], {
        env,
        cwd: folder,
      }).ended();
      expect(ended.code).toBe(0);
      // The log has calls and 429s alone.
      expect(ended.stderr).toMatch(/^(?:headgate: nothing matched in \d+ lines\n)?$/);
      // As a refusal of the admin listener begins.
      expect(ended.stdout).not.toContain('{"error"');
    },
  );

  test('define headgate in a clone for every directory', async () => {
    const alias = lines.find(
      (line) => line.startsWith('alias headgate=') && line.includes('main.ts'),
    );
    const script = `shopt -s expand_aliases\ncd '${ROOT}'\n${alias}\ncd '${folder}'\nheadgate logs --summary calls.log`;
    const ended = await new Spawned('bash', ['-c', script]).ended();
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    expect(ended.stdout).toContain('calls in');
  });

  test('name what the files in deploy/ have', () => {
    const deployed = globSync('deploy/**/*.yaml', { cwd: ROOT }).map(read).join('\n');
    const used = lines.filter((line) => /kubectl|docker compose/.test(line)).join('\n');
    const named = (pattern: RegExp): Set<string> =>
      new Set([...used.matchAll(pattern)].map(([, name = '']) => name));
    for (const label of named(/ -l (\S+)/g)) expect(deployed).toContain(label.replace('=', ': '));
    for (const name of named(/(?: -c |get secret |deploy\/(?!compose))([\w-]+)/g)) {
      expect([name, deployed.includes(`name: ${name}\n`) || name === 'admin-token']).toEqual([
        name,
        true,
      ]);
    }
    expect(deployed).toMatch(/^ {2}headgate-1:$/m);
    expect(named(/jsonpath='\{\.data\.([\w-]+)\}'/g)).toEqual(new Set(['admin-token']));
  });

  test('stand for every set-up', () => {
    const text = lines.join('\n');
    for (const word of ['kubectl logs -l app', 'kubectl logs -l headgate/gateway=sidecar']) {
      expect(text).toContain(word);
    }
    expect(text).toContain('docker compose -f deploy/compose.yaml logs');
    expect(text).toContain('journalctl -u headgate');
  });
});
