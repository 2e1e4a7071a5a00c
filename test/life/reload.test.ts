import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { createServer } from 'node:http';
import { startAzion, type Azion } from '../support/azion.ts';
import { askFor } from '../support/composed.ts';
import { startChild, type Child } from './child.ts';

const TOKEN = 'the-api-token-0123456789';
const KEYS = { old: 'billing-key-0123456789', new: 'billing-key-new-987654' };

let api: Azion;
let folder: string;
let child: Child | undefined;
/** How many reloads, taken or refused, this test has asked for. */
let reloads = 0;

beforeEach(async () => {
  api = await startAzion();
  folder = mkdtempSync(join(tmpdir(), 'headgate-reload-'));
  reloads = 0;
});

afterEach(async () => {
  await child?.stop();
  child = undefined;
  await api.close();
  rmSync(folder, { recursive: true, force: true });
});

function write(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

async function start(yaml: string, env: Record<string, string> = {}): Promise<Child> {
  child = await startChild({
    env: { HEADGATE_UPSTREAM_URL: api.url, ...env },
    args: ['--config', write('headgate.yaml', yaml)],
  });
  return child;
}

/** Sends SIGHUP and resolves to what the process has to say of it. */
async function reload(gateway: Child): Promise<readonly Readonly<Record<string, unknown>>[]> {
  gateway.kill('SIGHUP');
  reloads++;
  const heard = (): typeof gateway.lines =>
    gateway.lines.filter(({ msg }) => msg === 'reloaded' || msg === 'reload refused');
  await gateway.waitUntil(() => heard().length >= reloads);
  return heard().slice(reloads - 1);
}

const headers = { authorization: `token ${TOKEN}` };

describe('SIGHUP', () => {
  test('takes over what can change, says what did, and drops no connection or call', async () => {
    const gateway = await start('shedStatus: 503\nmaxWait: 2m\nlogLevel: info\n');
    await askFor(gateway.url, '/domains', headers);
    api.consume(headers.authorization, 'read', 1000);
    // Learns that the budget is spent, and waits under the old settings.
    const waiting = askFor(gateway.url, '/domains', headers);
    await gateway.waitFor('throttled');

    write(
      'headgate.yaml',
      'shedStatus: 429\nmaxWait: 0\nlogLevel: debug\ncallers:\n  - name: patient\n    shedStatus: 503\n',
    );
    const changed = ['HEADGATE_MAX_WAIT', 'HEADGATE_SHED_STATUS', 'HEADGATE_LOG_LEVEL', 'callers'];
    expect(await reload(gateway)).toMatchObject([{ level: 'info', changed, needRestart: [] }]);
    expect((await askFor(gateway.url, '/domains', headers)).status).toBe(429);
    const patient = { ...headers, 'headgate-caller': 'patient' };
    expect((await askFor(gateway.url, '/domains', patient)).status).toBe(503);
    gateway.kill('SIGTERM');
    expect((await waiting).headers['headgate-error']).toBe('draining');
    expect((await waiting).status).toBe(503);
  });

  test('names what needs a restart, and leaves it as it is', async () => {
    const gateway = await start('listen: 127.0.0.1:0\nretries: 2\n', { HEADGATE_LISTEN: '' });
    write('headgate.yaml', 'listen: 127.0.0.1:1\nretries: 1\nlaneConcurrency: 7\n');
    const both = ['HEADGATE_LISTEN', 'HEADGATE_LANE_CONCURRENCY'];
    expect(await reload(gateway)).toMatchObject([
      { changed: ['HEADGATE_RETRIES'], needRestart: both },
    ]);
    expect((await askFor(gateway.url, '/domains', headers)).status).toBe(200);
    const config = await askFor(gateway.adminUrl, '/config');
    expect(config.body).toContain('"variable":"HEADGATE_RETRIES","value":"1"');
    expect(config.body).toContain('"variable":"HEADGATE_LISTEN","value":"127.0.0.1:0"');
    // Still to do, so it is named again.
    expect(await reload(gateway)).toMatchObject([{ changed: [], needRestart: both }]);
  });

  test('refuses a bad file as a whole, with a line for each problem, and goes on as before', async () => {
    const gateway = await start('shedStatus: 429\nmaxWait: 0\n');
    await askFor(gateway.url, '/domains', headers);
    api.consume(headers.authorization, 'read', 1000);
    await askFor(gateway.url, '/domains', headers);
    write('headgate.yaml', 'shedStatus: 503\nmaxWait: soon\nmaxQeue: 3\n');
    gateway.kill('SIGHUP');
    await gateway.waitUntil(() => gateway.said('reload refused').length === 2);
    expect(gateway.said('reload refused')).toMatchObject([
      { level: 'error', problem: expect.stringMatching(/maxQeue.*did you mean maxQueue/) },
      { level: 'error', problem: expect.stringMatching(/maxWait: expected a duration/) },
    ]);
    expect((await askFor(gateway.url, '/domains', headers)).status).toBe(429);

    rmSync(join(folder, 'headgate.yaml'));
    gateway.kill('SIGHUP');
    await gateway.waitUntil(() => gateway.said('reload refused').length === 3);
    expect(gateway.said('reloaded')).toHaveLength(0);
  });

  test('replaces caller keys, old ones from the moment they are gone', async () => {
    const keysFile = write('keys.yaml', `billing: ${KEYS.old}\n`);
    const gateway = await start('{}\n', {
      HEADGATE_TOKEN: TOKEN,
      HEADGATE_CALLER_KEYS_FILE: keysFile,
    });
    const status = async (key: string): Promise<number> =>
      (await askFor(gateway.url, '/domains', { 'headgate-key': key })).status;
    expect(await status(KEYS.old)).toBe(200);
    expect(await status(KEYS.new)).toBe(401);

    write('keys.yaml', `billing: [${KEYS.old}, ${KEYS.new}]\n`);
    expect(await reload(gateway)).toMatchObject([{ changed: ['HEADGATE_CALLER_KEYS'] }]);
    expect([await status(KEYS.old), await status(KEYS.new)]).toEqual([200, 200]);

    write('keys.yaml', `billing: ${KEYS.new}\n`);
    await reload(gateway);
    expect([await status(KEYS.old), await status(KEYS.new)]).toEqual([401, 200]);

    write('keys.yaml', `billing: short\n`);
    expect(await reload(gateway)).toMatchObject([{ msg: 'reload refused', level: 'error' }]);
    expect([await status(KEYS.old), await status(KEYS.new)]).toEqual([401, 200]);
    expect(JSON.stringify(gateway.lines)).not.toContain(KEYS.new);
  });

  test('does not open a listener that it cannot close: the two files together must be safe', async () => {
    const safe = `listen: 0.0.0.0:0\ntoken: ${TOKEN}\ncallerKeys: billing=${KEYS.old}\n`;
    const gateway = await start(safe, { HEADGATE_LISTEN: '' });
    write('headgate.yaml', `listen: 127.0.0.1:0\ntoken: ${TOKEN}\n`);
    expect(await reload(gateway)).toMatchObject([
      { msg: 'reload refused', problem: expect.stringContaining('HEADGATE_OPEN') },
    ]);
    expect((await askFor(gateway.url.replace('0.0.0.0', '127.0.0.1'), '/domains')).status).toBe(
      401,
    );
  });

  test('changes the limit that a silent API is believed to have, in buckets that exist too', async () => {
    const silent = createServer((_, outgoing) => outgoing.end('ok'));
    await new Promise<void>((resolve) => {
      silent.listen(0, '127.0.0.1', resolve);
    });
    onTestFinished(() => {
      silent.closeAllConnections();
      silent.close();
    });
    const address = silent.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    const gateway = await start('limit: 2/1h\nmaxWait: 1s\n', {
      HEADGATE_UPSTREAM_URL: `http://127.0.0.1:${address.port}`,
    });
    const ask = async (): Promise<number> =>
      (await askFor(gateway.url, '/domains', headers)).status;
    expect([await ask(), await ask(), await ask()]).toEqual([200, 200, 503]);
    write('headgate.yaml', 'limit: 4/1h\nmaxWait: 1s\n');
    expect(await reload(gateway)).toMatchObject([{ changed: ['HEADGATE_LIMIT'] }]);
    expect([await ask(), await ask(), await ask()]).toEqual([200, 200, 503]);
  });
});
