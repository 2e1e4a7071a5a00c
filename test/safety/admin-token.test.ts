import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { ask } from '../support/ask.ts';
import { changeFile } from '../support/changed-file.ts';
import { loadSettings, startGateway } from '../support/gateway.ts';
import { startGatewayProcess } from '../support/gateway-process.ts';

const FIRST = 'operators-first-0123456789';
const SECOND = 'operators-second-987654321';

/** A folder of this test alone; returns a function that writes a file there. */
function makeFolder(): (name: string, text: string) => string {
  const folder = mkdtempSync(join(tmpdir(), 'headgate-admin-token-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return (name, text) => {
    const path = join(folder, name);
    writeFileSync(path, text);
    return path;
  };
}

/** The statuses of a read with the first and with the second token. */
async function statusesOf(adminUrl: string): Promise<number[]> {
  const statuses: number[] = [];
  for (const token of [FIRST, SECOND]) {
    const headers = { authorization: `Bearer ${token}` };
    statuses.push((await ask(`${adminUrl}/buckets`, { headers })).status);
  }
  return statuses;
}

describe('HEADGATE_ADMIN_TOKEN_FILE', () => {
  test('has the token, and is read again when it changes', async () => {
    const write = makeFolder();
    const path = write('token', `${FIRST}\n`);
    const gateway = await startGateway({ settings: { HEADGATE_ADMIN_TOKEN_FILE: path } });
    onTestFinished(() => gateway.stop());
    const { adminUrl, log } = gateway;
    expect((await ask(`${adminUrl}/buckets`)).status).toBe(401);
    expect(await statusesOf(adminUrl)).toEqual([200, 401]);

    await changeFile(
      path,
      'short',
      () => log.count('token file unusable: keeping the last token') > 0,
    );
    expect(await statusesOf(adminUrl)).toEqual([200, 401]);

    write('token', SECOND);
    await log.wait('token file re-read', 1);
    expect(await statusesOf(adminUrl)).toEqual([401, 200]);
    expect(log.text).not.toMatch(/operators-/);
    const authorization = `Bearer ${SECOND}`;
    const config = await ask(`${adminUrl}/config`, { headers: { authorization } });
    expect(config.text).toContain(JSON.stringify(path));
    expect(config.text).not.toContain(SECOND);
  });

  test('can take the place of HEADGATE_ADMIN_TOKEN at a reload', async () => {
    const write = makeFolder();
    const config = write('headgate.yaml', `adminToken: ${FIRST}\n`);
    const running = await startGatewayProcess({
      upstream: 'http://127.0.0.1:9',
      args: ['--config', config],
    });
    onTestFinished(() => running.stop());
    expect(await statusesOf(running.adminUrl)).toEqual([200, 401]);
    const token = write('token', SECOND);
    write('headgate.yaml', `adminTokenFile: ${token}\n`);
    running.kill('SIGHUP');
    expect(await running.log.wait('reloaded', 1)).toMatchObject([
      { changed: ['HEADGATE_ADMIN_TOKEN'], needRestart: [] },
    ]);
    expect(await statusesOf(running.adminUrl)).toEqual([401, 200]);
    // The file is watched from then on.
    await changeFile(token, FIRST + FIRST, () => running.log.count('token file re-read') > 0);
    expect(await statusesOf(running.adminUrl)).toEqual([401, 401]);
  });

  test.each([
    ['is missing', undefined, 'expected a readable file'],
    ['has a short token', 'short', 'at least 16 characters'],
    ['has two lines', `${FIRST}\n${SECOND}`, 'at least 16 characters'],
    ['is empty', '', 'got 0 characters'],
  ])('is refused at the start when it %s, and not shown', (_, text, expected) => {
    const env = { HEADGATE_ADMIN_TOKEN_FILE: '/no/such/token' };
    const loaded = loadSettings(env, text === undefined ? {} : { '/no/such/token': text });
    expect(loaded).toMatchObject({ kind: 'bad', problems: [expect.stringContaining(expected)] });
    expect(JSON.stringify(loaded)).not.toMatch(/operators-/);
  });
});
