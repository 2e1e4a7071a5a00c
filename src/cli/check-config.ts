import { servedApis, type Config } from '../config/config.ts';
import type { EffectiveSetting } from '../config/effective.ts';
import { printable } from '../logs/terminal-text.ts';
import type { Finding } from '../diagnosis/way.ts';
import { systemClock } from '../util/system-clock.ts';
import { CONFIG_OPTION, withSettings, type Command } from './command.ts';

export const checkConfigCommand: Command = {
  name: 'check-config',
  summary: 'check the settings and print them',
  options: [
    CONFIG_OPTION,
    { name: 'probe', summary: 'also try the ways to the API and to Redis, step by step' },
  ],
  settings: 'all',
  run: withSettings(async ({ config, effective }, { options, readFile, stdout, stderr }) => {
    const problem = await authorityProblem(config, readFile);
    if (problem !== undefined) {
      stderr(`headgate: ${printable(problem)}\n`);
      return 2;
    }
    stdout(describeSettings(effective));
    if (!options.has('probe')) return 0;
    stdout('\n');
    return (await runProbe(config, stdout)) ? 0 : 1;
  }),
};

/** What is wrong with the authority of intercepted hosts, which depends on the time. */
async function authorityProblem(
  { intercept }: Config,
  readFile: (path: string) => string,
): Promise<string | undefined> {
  if (intercept === undefined) return undefined;
  const { openAuthority } = await import('../certificates/authority.ts');
  const { ca, hosts } = intercept;
  const texts = { cert: readFile(ca.cert), key: readFile(ca.key) };
  const opened = openAuthority(texts, hosts, systemClock.wallMs());
  return opened.kind === 'bad' ? `HEADGATE_INTERCEPT_CA_CERT: ${opened.problem}` : undefined;
}

/** Lists every setting in force and its source, with secrets masked. */
export function describeSettings(settings: readonly EffectiveSetting[]): string {
  const widest = Math.max(...settings.map(({ variable }) => variable.length));
  const lines = settings.map(({ variable, value, source }) => {
    const display = source === 'nobody' ? '–' : printable(value);
    const sourceNote = source === 'nobody' ? '' : `  (${source})`;
    return `${variable.padEnd(widest)}  ${display}${sourceNote}`;
  });
  return `${lines.join('\n')}\n`;
}

/**
 * Tries the ways to the API and to Redis, and prints a line for each step:
 *
 *     API    api.example.com:443  dns      ok      192.0.2.7
 *     Redis  redis:6379           login    FAILED  WRONGPASS …
 *
 * Resolves to whether both can be used.
 */
async function runProbe(config: Config, print: (text: string) => void): Promise<boolean> {
  // Imported only here: the check alone needs no HTTP client.
  const { probe } = await import('../app/probe.ts');
  const row = (server: string) => (finding: Finding) => {
    const { at, step, kind } = finding;
    const [result, detail] = kind === 'ok' ? ['ok', finding.detail] : ['FAILED', finding.reason];
    const columns = [server.padEnd(5), at.padEnd(24), step.padEnd(8), result.padEnd(6), detail];
    print(`${printable(columns.join('  ').trimEnd())}\n`);
  };
  let isUsable = true;
  // The way to Redis is the same for all APIs, so it is tried once.
  let redis: Config['redis'] | undefined = config.redis;
  for (const { name = 'API', config: ofApi } of servedApis(config)) {
    const found = await probe(
      { upstream: ofApi.upstream, redis },
      { api: row(name), redis: row('Redis') },
    );
    isUsable &&= found.api && found.redis !== false;
    redis = undefined;
  }
  if (config.redis === undefined) {
    print('Redis  not set: this gateway shares its budgets with no other\n');
  }
  return isUsable;
}
