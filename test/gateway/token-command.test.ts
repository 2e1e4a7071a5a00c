import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { setUpApi } from '../http/setup.ts';
import { startApi } from '../support/api.ts';
import { ask } from '../support/ask.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { loadSettings } from '../support/gateway.ts';
import { GatewayProcess, startGatewayProcess } from '../support/gateway-process.ts';

const FIRST = 'first-secret-of-the-command';
const SECOND = 'second-secret-of-the-command';

/** A command that prints what a file has, and a function that writes that file. */
function makeCommand(): { command: string; write: (text: string) => void; runs: () => number } {
  const folder = mkdtempSync(join(tmpdir(), 'headgate-token-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'token');
  const runs = join(folder, 'runs');
  writeFileSync(runs, '');
  return {
    command: `echo run >> '${runs}'; cat '${path}'`,
    write: (text) => writeFileSync(path, text),
    runs: () => readFileSync(runs, 'utf8').split('\n').length - 1,
  };
}

describe('HEADGATE_TOKEN_COMMAND', () => {
  test('prints the token, and runs again when the API refuses it', async () => {
    const { command, write, runs } = makeCommand();
    write(`${FIRST}\n`);
    const clock = new FakeClock();
    let valid = FIRST;
    const { api, gateway } = await setUpApi(
      ({ headers }, outgoing) => {
        outgoing.statusCode = headers.authorization === `token ${valid}` ? 200 : 401;
        outgoing.end('ok');
      },
      { HEADGATE_TOKEN_COMMAND: command, HEADGATE_PRESET: 'none' },
      { clock },
    );
    const status = async (headers = {}): Promise<number> =>
      (await ask(`${gateway.url}/a`, { headers })).status;
    expect(await status()).toBe(200);
    expect(runs()).toBe(1);

    valid = SECOND;
    write(SECOND);
    expect(await status()).toBe(401);
    expect(runs()).toBe(1);
    clock.advance(60_000);
    // A caller's own credential that is refused is no fault of the token.
    expect(await status({ authorization: 'token of-a-caller' })).toBe(401);
    expect(await status()).toBe(401);
    await gateway.log.wait('token renewed', 1);
    expect(await status()).toBe(200);
    expect(runs()).toBe(2);
    expect(api.seen.at(-1)?.headers['authorization']).toBe(`token ${SECOND}`);
    expect(gateway.log.text).not.toContain('secret-of-the-command');
  });

  test('runs again at SIGHUP, and the last token stays while it fails', async () => {
    const { command, write } = makeCommand();
    write(FIRST);
    const api = await startApi(({ headers }, outgoing) => outgoing.end(headers.authorization));
    onTestFinished(() => api.close());
    const settings = { HEADGATE_TOKEN_COMMAND: command, HEADGATE_PRESET: 'none' };
    const running = await startGatewayProcess({ upstream: api.url, settings });
    onTestFinished(() => running.stop());
    const sent = async (): Promise<string> => (await ask(`${running.url}/a`)).text;
    expect(await sent()).toBe(`token ${FIRST}`);
    write(SECOND);
    running.kill('SIGHUP');
    await running.log.wait('token renewed', 1);
    expect(await sent()).toBe(`token ${SECOND}`);
    write('');
    running.kill('SIGHUP');
    const line = await running.log.first('token not renewed: keeping the last token');
    expect(line['err']).toMatchObject({
      message: expect.stringContaining('got 0 characters that are not printable ASCII'),
    });
    expect(await sent()).toBe(`token ${SECOND}`);
  });

  test('that fails at the start ends the gateway with code 2 and its standard error', async () => {
    const settings = { HEADGATE_TOKEN_COMMAND: 'echo the vault is sealed >&2; exit 4' };
    const running = new GatewayProcess({ upstream: 'http://127.0.0.1:9', settings });
    onTestFinished(() => running.stop());
    expect(await running.ended).toEqual({ code: 2, signal: null });
    const problem =
      'HEADGATE_TOKEN_COMMAND: expected a command that prints a token, got exit code 4: the vault is sealed';
    expect(running.stderr).toContain(`headgate: ${problem}`);
    expect(running.log.named('cannot run')).toMatchObject([{ problem }]);
  });

  test.each([
    [{ HEADGATE_TOKEN_REFRESH: '1h' }, 'expected it with HEADGATE_TOKEN_COMMAND, got it alone'],
    [
      { HEADGATE_TOKEN_COMMAND: 'cat x', HEADGATE_TOKEN: 'a' },
      'HEADGATE_TOKEN_COMMAND: expected it without HEADGATE_TOKEN, got both',
    ],
    [{ HEADGATE_TOKEN_COMMAND: 'cat x', HEADGATE_TOKEN_REFRESH: '5s' }, 'at least 60000ms'],
    [
      { HEADGATE_TOKEN_COMMAND: 'cat x', HEADGATE_LISTEN: '0.0.0.0:8080' },
      'HEADGATE_TOKEN_COMMAND: expected HEADGATE_CALLER_KEYS or HEADGATE_OPEN=true as well',
    ],
  ])('%j is refused: %s', (env, expected) => {
    const loaded = loadSettings(env);
    expect(loaded).toMatchObject({ kind: 'bad', problems: [expect.stringContaining(expected)] });
  });

  test('is masked wherever settings are shown', () => {
    const loaded = loadSettings({ HEADGATE_TOKEN_COMMAND: 'login --password hidden' });
    expect(loaded.kind === 'ok' && JSON.stringify(loaded.effective)).not.toContain('hidden');
  });
});
