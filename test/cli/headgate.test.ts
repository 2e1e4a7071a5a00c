import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { afterEach, describe, expect, test } from 'vitest';
import { SETTINGS } from '../../src/config/settings.ts';
import { COMMANDS } from '../../src/cli/run.ts';
import { ask } from '../support/ask.ts';
import { headgate, ROOT, Spawned, type SpawnedOptions } from '../support/spawned.ts';

/** Tests of the process, as a shell, a container or an init system sees it. */

const running: Spawned[] = [];
const servers: Server[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((spawned) => spawned.stop()));
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

function start(args: readonly string[], env: SpawnedOptions['env'] = {}): Spawned {
  const spawned = headgate(args, { env });
  running.push(spawned);
  return spawned;
}

const ON_FREE_PORTS = { HEADGATE_LISTEN: '127.0.0.1:0', HEADGATE_ADMIN_LISTEN: '127.0.0.1:0' };

/** An API that never answers. Resolves to its host and port. */
async function silentApi(onRequest: () => void = () => undefined): Promise<string> {
  const server = createServer(onRequest);
  servers.push(server);
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the API has no port');
  return `127.0.0.1:${address.port}`;
}

describe('headgate', () => {
  test('--version prints the package’s version and ends with 0', async () => {
    const { version } = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8'));
    expect(await start(['--version']).ended()).toMatchObject({
      code: 0,
      stdout: `${String(version)}\n`,
      stderr: '',
    });
  });

  test('--help names every command and option', async () => {
    const { code, stdout } = await start(['--help']).ended();
    expect(code).toBe(0);
    for (const { name, options } of COMMANDS) {
      expect(stdout).toContain(`  ${name} `);
      for (const option of options) expect(stdout).toContain(`--${option.name}`);
    }
  });

  test('without a command it prints its help; with one and --help, that of the command', async () => {
    const [alone, help, serve] = await Promise.all([
      start([]).ended(),
      start(['--help']).ended(),
      start(['serve', '--help']).ended(),
    ]);
    expect(alone).toMatchObject({ code: 0, stdout: help.stdout });
    expect(serve.code).toBe(0);
    expect(serve.stdout).toMatch(/^Usage: headgate serve \[options\]\n/);
    for (const { variable } of Object.values(SETTINGS)) expect(serve.stdout).toContain(variable);
    // No mark of Markdown.
    expect(serve.stdout).not.toMatch(/`|\]\(|\*\*/);
  });

  test('an unknown command or option ends it with 2 and a hint', async () => {
    expect(await start(['chekc-config']).ended()).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringMatching(
        /^headgate: expected one of .*, got chekc-config; did you mean check-config\?\nheadgate --help .*\n$/,
      ),
    });
    expect(await start(['--address', '80']).ended()).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(
        /^headgate: expected an option that headgate --help lists, got --address\n/,
      ),
    });
    expect(await start(['serve', '--bogus']).ended()).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(
        /^headgate: expected one of --config with serve, got --bogus\n/,
      ),
    });
    expect(await start(['logs', '--outcom', 'shed']).ended()).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(
        /^headgate: expected an option that headgate logs --help lists, got --outcom; did you mean --outcome\?\n/,
      ),
    });
  });

  test.each([['check-config'], ['serve']])(
    'bad settings end %s with 2 and one line per problem',
    async (command) => {
      const { code, stderr } = await start([command], {
        HEADGATE_MAX_WAIT: 'soon',
        HEADGATE_RETRYS: '3',
        HEADGATE_TOKEN: 'with spaces',
      }).ended();
      expect(code).toBe(2);
      expect(stderr.trimEnd().split('\n').toSorted()).toEqual([
        'headgate: HEADGATE_MAX_WAIT: expected a duration such as 45s or 2m, at most 24d, got "soon"',
        'headgate: HEADGATE_RETRYS: expected a known setting, got an unknown one; did you mean HEADGATE_RETRIES?',
        'headgate: HEADGATE_TOKEN: expected printable ASCII without spaces, got a value of 11 characters',
      ]);
    },
  );

  test('a failed start is also a log line on standard output, for collectors', async () => {
    const { stdout, stderr } = await start(['serve'], { HEADGATE_MAX_WAIT: 'soon' }).ended();
    expect(JSON.parse(stdout)).toMatchObject({
      level: 'fatal',
      msg: 'cannot run',
      problem: stderr.trim().replace('headgate: ', ''),
    });
  });

  test('an older Node gets the version that is needed, and no stack trace', async () => {
    const older =
      "data:text/javascript,Object.defineProperty(process.versions,'node',{value:'20.19.2'})";
    const spawned = new Spawned(process.execPath, ['--import', older, `${ROOT}src/main.ts`]);
    running.push(spawned);
    expect(await spawned.ended()).toMatchObject({
      code: 1,
      stdout: '',
      stderr:
        'headgate: expected Node.js 24 or later, got 20.19.2; install a newer one, or use the image\n',
    });
  });

  test('SIGUSR1 opens no debugger', async () => {
    const gateway = start(['serve'], ON_FREE_PORTS);
    const [, adminUrl = ''] = await gateway.printed(/"adminUrl":"([^"]+)"/);
    gateway.kill('SIGUSR1');
    expect((await ask(`${adminUrl}/health/live`)).status).toBe(200);
    gateway.kill('SIGINT');
    expect(await gateway.ended()).toMatchObject({ code: 0, stderr: '' });
  });

  test('a missing configuration file ends it with 2', async () => {
    const { code, stderr } = await start(['--config', '/no/such.yaml']).ended();
    expect(code).toBe(2);
    expect(stderr).toMatch(/^headgate: \/no\/such\.yaml: expected a readable file, got: .*\n$/);
  });

  test('check-config prints the settings in force and their sources, but no secret', async () => {
    const { code, stdout } = await start(['check-config'], {
      HEADGATE_TOKEN: 'very-secret',
      HEADGATE_MAX_WAIT: '45s',
    }).ended();
    expect(code).toBe(0);
    expect(stdout).toMatch(/^HEADGATE_MAX_WAIT +45s {2}\(environment\)$/m);
    expect(stdout).toMatch(/^HEADGATE_TOKEN +\(secret\) {2}\(environment\)$/m);
    expect(stdout).toMatch(/^HEADGATE_UPSTREAM_URL +https:\/\/api\.azionapi\.net {2}\(preset\)$/m);
    expect(stdout).not.toContain('very-secret');
  });

  test.each(['HEADGATE_LISTEN', 'HEADGATE_ADMIN_LISTEN'])(
    'an address in %s that is in use ends it with 1 and one line',
    async (variable) => {
      const taken = await silentApi();
      const ended = await start(['serve'], { ...ON_FREE_PORTS, [variable]: taken }).ended();
      const problem = `${variable}: expected a free address, got ${taken}, which another process uses (EADDRINUSE)`;
      expect(ended).toMatchObject({ code: 1, stderr: `headgate: ${problem}\n` });
      expect(JSON.parse(ended.stdout)).toMatchObject({ msg: 'cannot run', problem });
    },
  );

  test('SIGINT ends an idle gateway at once, with 0', async () => {
    const gateway = start(['serve'], ON_FREE_PORTS);
    await gateway.printed(/"msg":"listening"/);
    gateway.kill('SIGINT');
    expect(await gateway.ended()).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('"msg":"stopped"'),
      stderr: '',
    });
  });

  test('a second signal ends a draining gateway, with the shell’s exit code and a line for each cut call', async () => {
    let reached: () => void = () => undefined;
    const atTheApi = new Promise<void>((resolve) => {
      reached = resolve;
    });
    const api = await silentApi(() => reached());
    const gateway = start(['serve'], { ...ON_FREE_PORTS, HEADGATE_UPSTREAM_URL: `http://${api}` });
    const [, url = ''] = await gateway.printed(/"url":"([^"]+)"/);
    const unanswered = ask(`${url}/domains`).catch((error: unknown) => error);
    await atTheApi;
    gateway.kill('SIGTERM');
    await gateway.printed(/"msg":"draining"/);
    gateway.kill('SIGINT');
    expect(await gateway.ended()).toMatchObject({
      code: 130,
      stdout: expect.stringMatching(/"code":"draining".*"msg":"call"/),
      stderr: '',
    });
    expect(await unanswered).toMatchObject({ status: 503 });
  });
});
