import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { listenToSignals, type Signals } from '../../src/cli/signals.ts';
import { FakeClock } from '../support/fake-clock.ts';

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

let clock: FakeClock;

beforeEach(() => {
  clock = new FakeClock();
  vi.spyOn(process, 'exit').mockImplementation((code): never => {
    throw new Error(`exit ${code}`);
  });
});

afterEach(() => {
  vi.restoreAllMocks();
  for (const signal of SIGNALS) process.removeAllListeners(signal);
});

/** What Node does when the process receives a signal. */
function receive(signal: NodeJS.Signals): void {
  process.emit(signal, signal);
}

function listen({ underNpm }: { underNpm: boolean }): Signals & { second: NodeJS.Signals[] } {
  const second: NodeJS.Signals[] = [];
  const signals = listenToSignals({ clock, underNpm });
  signals.onSecondStop((signal) => second.push(signal));
  return { ...signals, second };
}

describe('a second signal', () => {
  test('ends the process at once', async () => {
    const { stop, second } = listen({ underNpm: false });
    receive('SIGTERM');
    expect(await stop).toBe('SIGTERM');
    expect(() => receive('SIGTERM')).toThrow('exit 143');
    expect(second).toEqual(['SIGTERM']);
  });

  test('counts as the first one again where npm forwards what the whole group received', async () => {
    const { stop, second } = listen({ underNpm: true });
    receive('SIGTERM');
    clock.advance(999);
    receive('SIGTERM');
    expect(await stop).toBe('SIGTERM');
    expect(second).toEqual([]);
  });

  test.each([
    ['a second later', 1000, 'SIGTERM', 143],
    ['of another kind', 0, 'SIGINT', 130],
  ] as const)(
    'ends the process under npm, too, when it comes %s',
    (_how, afterMs, signal, code) => {
      const { second } = listen({ underNpm: true });
      receive('SIGTERM');
      clock.advance(afterMs);
      expect(() => receive(signal)).toThrow(`exit ${code}`);
      expect(second).toEqual([signal]);
    },
  );
});
