import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { startApi } from '../support/api.ts';
import { ask, type Answer } from '../support/ask.ts';
import { startAzion, type Azion } from '../support/azion.ts';
import type { LogLine } from '../support/captured-log.ts';
import { startGatewayProcess, type GatewayProcess } from '../support/gateway-process.ts';

const TOKEN = 'the-api-token-0123456789';
const KEYS = { old: 'billing-key-0123456789', new: 'billing-key-new-987654' };

let api: Azion;
let folder: string;
let gateway: GatewayProcess | undefined;
/** The number of reloads, done or refused, that this test has requested. */
let reloads = 0;

beforeEach(async () => {
  api = await startAzion();
  folder = mkdtempSync(join(tmpdir(), 'headgate-reload-'));
  reloads = 0;
});

afterEach(async () => {
  await gateway?.stop();
  gateway = undefined;
  await api.close();
  rmSync(folder, { recursive: true, force: true });
});

function write(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

async function start(
  yaml: string,
  settings: Record<string, string> = {},
  upstream = api.url,
): Promise<GatewayProcess> {
  gateway = await startGatewayProcess({
    upstream,
    settings,
    args: ['--config', write('headgate.yaml', yaml)],
  });
  return gateway;
}

/** Sends SIGHUP and resolves to the lines that the gateway logs about this reload. */
async function reload(running: GatewayProcess): Promise<readonly LogLine[]> {
  running.kill('SIGHUP');
  reloads++;
  const reports = (): LogLine[] =>
    running.log.lines.filter(({ msg }) => msg === 'reloaded' || msg === 'reload refused');
  await running.log.waitUntil(() => reports().length >= reloads);
  return reports().slice(reloads - 1);
}

const headers = { authorization: `token ${TOKEN}` };

function get(url: string, further: Record<string, string> = {}): Promise<Answer> {
  return ask(`${url}/domains`, { headers: { ...headers, ...further } });
}

describe('SIGHUP', () => {
  test('applies the settings that can change, names them, and drops no connection or call', async () => {
    const running = await start('shedStatus: 503\nmaxWait: 2m\nlogLevel: info\n');
    const { url } = running;
    await get(url);
    api.consume(headers.authorization, 'read', 1000);
    // The API reports that the budget is spent, so this call waits, under the old settings.
    const waiting = get(url);
    await running.log.first('throttled');

    write(
      'headgate.yaml',
      'shedStatus: 429\nmaxWait: 0\nlogLevel: debug\ncallers:\n  - name: patient\n    shedStatus: 503\n',
    );
    const changed = ['HEADGATE_MAX_WAIT', 'HEADGATE_SHED_STATUS', 'HEADGATE_LOG_LEVEL', 'callers'];
    expect(await reload(running)).toMatchObject([{ level: 'info', changed, needRestart: [] }]);
    expect((await get(url)).status).toBe(429);
    expect((await get(url, { 'headgate-caller': 'patient' })).status).toBe(503);
    running.kill('SIGTERM');
    expect((await waiting).headers['headgate-error']).toBe('draining');
    expect((await waiting).status).toBe(503);
  });

  test('changes a setting of one of several APIs', async () => {
    const yaml = (masks: string): string =>
      `apis:\n  one: {upstreamUrl: "${api.url}", match: {path: /one/**}${masks}}\n  two: {upstreamUrl: "${api.url}"}\n`;
    const running = await start(yaml(''), {}, '');
    await get(`${running.url}/one`);
    write('headgate.yaml', yaml(', pathMasks: [/*]'));
    expect(await reload(running)).toMatchObject([
      { changed: ['apis.one.pathMasks'], needRestart: [] },
    ]);
    await get(`${running.url}/one`);
    await get(running.url);
    const lines = await running.log.wait('call', 3);
    expect(lines.map((line) => [line['api'], line['path']])).toEqual([
      ['one', '/domains'],
      ['one', '/***'],
      ['two', '/domains'],
    ]);
  });

  test('names the settings that need a restart, and leaves them as they are', async () => {
    const running = await start('listen: 127.0.0.1:0\nretries: 2\n', { HEADGATE_LISTEN: '' });
    write('headgate.yaml', 'listen: 127.0.0.1:1\nretries: 1\nlaneConcurrency: 7\n');
    const needRestart = ['HEADGATE_LISTEN', 'HEADGATE_LANE_CONCURRENCY'];
    expect(await reload(running)).toMatchObject([{ changed: ['HEADGATE_RETRIES'], needRestart }]);
    expect((await get(running.url)).status).toBe(200);
    const config = await ask(`${running.adminUrl}/config`);
    expect(config.text).toContain('"variable":"HEADGATE_RETRIES","value":"1"');
    expect(config.text).toContain('"variable":"HEADGATE_LISTEN","value":"127.0.0.1:0"');
    // They still need it, so each reload names them.
    expect(await reload(running)).toMatchObject([{ changed: [], needRestart }]);
  });

  test('refuses a bad file as a whole, logs each problem, and keeps the old settings', async () => {
    const running = await start('shedStatus: 429\nmaxWait: 0\n');
    const { url, log } = running;
    await get(url);
    api.consume(headers.authorization, 'read', 1000);
    await get(url);
    write('headgate.yaml', 'shedStatus: 503\nmaxWait: soon\nmaxQeue: 3\n');
    running.kill('SIGHUP');
    expect(await log.wait('reload refused', 2)).toMatchObject([
      { level: 'error', problem: expect.stringMatching(/maxQeue.*did you mean maxQueue/) },
      { level: 'error', problem: expect.stringMatching(/maxWait: expected a duration/) },
    ]);
    expect((await get(url)).status).toBe(429);

    rmSync(join(folder, 'headgate.yaml'));
    running.kill('SIGHUP');
    await log.wait('reload refused', 3);
    expect(log.count('reloaded')).toBe(0);
  });

  test('replaces caller keys, and refuses an old key from then on', async () => {
    const keysFile = write('keys.yaml', `billing: ${KEYS.old}\n`);
    const running = await start('{}\n', {
      HEADGATE_TOKEN: TOKEN,
      HEADGATE_CALLER_KEYS_FILE: keysFile,
    });
    const statuses = async (): Promise<number[]> => {
      const found: number[] = [];
      for (const key of [KEYS.old, KEYS.new]) {
        const answer = await ask(`${running.url}/domains`, { headers: { 'headgate-key': key } });
        found.push(answer.status);
      }
      return found;
    };
    expect(await statuses()).toEqual([200, 401]);

    write('keys.yaml', `billing: [${KEYS.old}, ${KEYS.new}]\n`);
    expect(await reload(running)).toMatchObject([{ changed: ['HEADGATE_CALLER_KEYS'] }]);
    expect(await statuses()).toEqual([200, 200]);

    write('keys.yaml', `billing: ${KEYS.new}\n`);
    await reload(running);
    expect(await statuses()).toEqual([401, 200]);

    write('keys.yaml', `billing: short\n`);
    expect(await reload(running)).toMatchObject([{ msg: 'reload refused', level: 'error' }]);
    expect(await statuses()).toEqual([401, 200]);
    expect(running.log.text).not.toContain(KEYS.new);
  });

  test('refuses settings that are unsafe with the listener, which stays as it was opened', async () => {
    const safe = `listen: 0.0.0.0:0\ntoken: ${TOKEN}\ncallerKeys: billing=${KEYS.old}\n`;
    const running = await start(safe, { HEADGATE_LISTEN: '' });
    write('headgate.yaml', `listen: 127.0.0.1:0\ntoken: ${TOKEN}\n`);
    expect(await reload(running)).toMatchObject([
      { msg: 'reload refused', problem: expect.stringContaining('HEADGATE_OPEN') },
    ]);
    const url = running.url.replace('0.0.0.0', '127.0.0.1');
    expect((await ask(`${url}/domains`)).status).toBe(401);
  });

  test('changes the assumed limit of an API without rate headers, in known buckets too', async () => {
    const silent = await startApi((_, outgoing) => outgoing.end('ok'));
    onTestFinished(() => silent.close());
    const running = await start('limit: 2/1h\nmaxWait: 1s\n', {}, silent.url);
    const threeCalls = async (): Promise<number[]> => {
      const statuses: number[] = [];
      for (let i = 0; i < 3; i++) statuses.push((await get(running.url)).status);
      return statuses;
    };
    expect(await threeCalls()).toEqual([200, 200, 503]);
    write('headgate.yaml', 'limit: 4/1h\nmaxWait: 1s\n');
    expect(await reload(running)).toMatchObject([{ changed: ['HEADGATE_LIMIT'] }]);
    expect(await threeCalls()).toEqual([200, 200, 503]);
  });
});
