import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { loadConfig } from '../../src/config/config.ts';
import { COMMANDS } from '../../src/cli/run.ts';
import { ROOT } from '../support/spawned.ts';

const unit = readFileSync(`${ROOT}deploy/systemd/headgate.service`, 'utf8');

function valueOf(key: string): string {
  return new RegExp(`^${key}=(.*)$`, 'm').exec(unit)?.[1] ?? `no ${key}`;
}

test('the service starts a command of the program, and reloads it by the signal that it knows', () => {
  const [, command] = /headgate (\S+)/.exec(valueOf('ExecStart')) ?? [];
  expect(COMMANDS.map(({ name }) => name)).toContain(command);
  expect(valueOf('ExecReload')).toContain('-HUP $MAINPID');
  // The exit code of wrong settings.
  expect(valueOf('RestartPreventExitStatus')).toBe('2');
});

test('a stop has the time that a drain needs', () => {
  const loaded = loadConfig({ env: {}, readFile: () => '' });
  if (loaded.kind === 'bad') throw new Error(loaded.problems.join());
  const { drainDelayMs, drainTimeoutMs } = loaded.config;
  const stopMs = Number(valueOf('TimeoutStopSec')) * 1000;
  expect(stopMs).toBeGreaterThanOrEqual(drainDelayMs + drainTimeoutMs + 2000);
});
