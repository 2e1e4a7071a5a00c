import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { SETTINGS } from '../../src/config/settings.ts';
import { makeTokenCommand } from '../../src/upstream/token-command.ts';
import type { ObtainedToken } from '../../src/upstream/renewed-token.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { until } from '../support/setup.ts';

interface Run {
  readonly env?: Readonly<Record<string, string>>;
  readonly last?: string;
  readonly clock?: FakeClock;
  readonly signal?: AbortSignal;
}

function run(command: string, options: Run = {}): Promise<ObtainedToken> {
  const { env, last, clock = new FakeClock(), signal = new AbortController().signal } = options;
  const format = SETTINGS.token.kind;
  return makeTokenCommand({ command, refreshMs: 5000, env, format, clock })(last, signal);
}

async function problemOf(command: string, options: Run = {}): Promise<string> {
  const error: unknown = await run(command, options).catch((thrown: unknown) => thrown);
  if (!(error instanceof Error)) throw new Error('expected a failure');
  return error.message;
}

describe('the command for a token', () => {
  test('is a line for the shell, and its output without spaces is the token', async () => {
    const command = `printf '%s' ' to"ken ' | tr -d '"'; echo`;
    expect(await run(command)).toEqual({ token: 'token', renewAfterMs: 5000 });
  });

  test('gets the environment without the variables of the gateway', async () => {
    const env = { PATH: process.env['PATH'] ?? '', VAULT: 'v', HEADGATE_SECRET: 's' };
    const command = 'echo "$VAULT-${HEADGATE_SECRET:-none}"';
    expect(await run(command, { env })).toMatchObject({ token: 'v-none' });
  });

  test.each([
    ['echo no vault >&2; exit 3', 'got exit code 3: no vault'],
    ['/no/such/command', 'got exit code 127: '],
    ['kill -9 $$', 'got its end by SIGKILL'],
    ['true', 'got 0 characters that are not printable ASCII'],
    ['echo two words', 'got 9 characters that are not printable ASCII'],
    ['head -c 20000 /dev/zero', 'got more than 16384 characters'],
  ])('%j fails: %s', async (command, expected) => {
    const problem = await problemOf(command);
    expect(problem).toContain('expected a command that prints a token, ');
    expect(problem).toContain(expected);
  });

  test('never shows a token in its error, neither a new one nor the last', async () => {
    const command = 'echo new-secret; echo "new-secret and old-secret" >&2; exit 1';
    const problem = await problemOf(command, { last: 'old-secret' });
    expect(problem).toContain('got exit code 1: *** and ***');
    expect(problem).not.toContain('secret');
  });

  test('shows the beginning of a long standard error, on one line', async () => {
    const problem = await problemOf(`yes a | head -c 2000 >&2; exit 1`);
    expect(problem).toMatch(/exit code 1: (?:a ){250}…$/);
  });

  test('is ended after 10 s, with the processes that it started', async () => {
    const clock = new FakeClock();
    const [command, isRunning] = makeSleep();
    const ended = problemOf(command, { clock });
    await until('it runs', isRunning);
    clock.advance(10_000);
    expect(await ended).toContain('got no end within 10 s');
    await until('its process is gone', () => !isRunning());
  });

  test('is ended when the gateway ends', async () => {
    const ending = new AbortController();
    const [command, isRunning] = makeSleep();
    const ended = problemOf(command, { signal: ending.signal });
    await until('it runs', isRunning);
    ending.abort();
    expect(await ended).toContain('got the end of the gateway');
    await until('its process is gone', () => !isRunning());
  });
});

/** A command that starts a process and waits for it, and whether that process runs. */
function makeSleep(): [command: string, isRunning: () => boolean] {
  const folder = mkdtempSync(join(tmpdir(), 'headgate-command-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'pid');
  const isRunning = (): boolean => {
    const pid = existsSync(path) ? Number(readFileSync(path, 'utf8')) : 0;
    if (pid === 0) return false;
    try {
      // Signal 0 only asks.
      return process.kill(pid, 0);
    } catch {
      return false;
    }
  };
  return [`sleep 1000 & echo $! > '${path}'; wait`, isRunning];
}
