import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';

/** What the figures were measured with. */
export function versions(): Readonly<Record<string, string>> {
  const { dependencies } = JSON.parse(
    readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
  );
  return {
    node: process.version,
    cores: String(cpus().length),
    nginx: firstLine('nginx', '-v'),
    haproxy: firstLine('haproxy', '-v'),
    redis: firstLine('redis-server', '--version'),
    wrk: firstLine('wrk', '-v'),
    ...dependencies,
  };
}

function firstLine(command: string, flag: string): string {
  const { stdout, stderr } = spawnSync(command, [flag], { encoding: 'utf8' });
  return `${stdout}${stderr}`.split('\n', 1)[0] ?? '';
}
