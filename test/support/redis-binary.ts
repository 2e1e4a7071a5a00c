import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

const NAMES = ['redis-server', 'valkey-server'];
const MISSING =
  'The tests need a real Redis: install redis-server or valkey-server, or name one in HEADGATE_TEST_REDIS_SERVER';

/** The server that the tests start: the one that the environment names, else one on the PATH. */
export function findRedisServer(): string {
  const found = lookForRedisServer();
  if (found === undefined) throw new Error(MISSING);
  return found;
}

/** As root on Debian a missing server is installed, said aloud; elsewhere it is an error. */
export function provideRedisServer(say: (line: string) => void): void {
  if (lookForRedisServer() !== undefined) return;
  const debianRoot = process.getuid?.() === 0 && existsSync('/etc/debian_version');
  if (!debianRoot) throw new Error(MISSING);
  say('The tests need a real Redis and found none: installing the package redis-server');
  const environment = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  for (const args of [
    ['-q', 'update'],
    ['-q', '-y', '--no-install-recommends', 'install', 'redis-server'],
  ]) {
    execFileSync('apt-get', args, { stdio: ['ignore', 'ignore', 'inherit'], env: environment });
  }
  findRedisServer();
}

function lookForRedisServer(): string | undefined {
  const named = process.env['HEADGATE_TEST_REDIS_SERVER'];
  if (named !== undefined && named !== '') {
    if (existsSync(named)) return named;
    throw new Error(`HEADGATE_TEST_REDIS_SERVER: expected a program, found nothing at ${named}`);
  }
  const directories = (process.env['PATH'] ?? '').split(delimiter);
  return NAMES.flatMap((name) => directories.map((directory) => join(directory, name))).find(
    existsSync,
  );
}
