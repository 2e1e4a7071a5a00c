import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { listenToSignals, type Signals } from '../../src/cli/signals.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { until } from '../support/setup.ts';

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

let clock: FakeClock;
/** The codes with which the process would have ended. */
let codes: unknown[];

/** The listeners of this process itself, which must neither receive what a test sends nor be lost. */
let others: (() => void)[];

beforeEach(() => {
  clock = new FakeClock();
  codes = [];
  others = SIGNALS.map((signal) => {
    const listeners = process.listeners(signal);
    process.removeAllListeners(signal);
    return () => {
      process.removeAllListeners(signal);
      for (const listener of listeners) process.on(signal, listener);
    };
  });
});

afterEach(() => {
  for (const restore of others) restore();
});

/** What Node does when the process receives a signal. */
function receive(signal: NodeJS.Signals): void {
  process.emit(signal, signal);
}

interface Listening extends Signals {
  readonly second: NodeJS.Signals[];
  /** Ends what the listener of the second signal does. */
  finish: () => void;
}

function listen({ underNpm }: { underNpm: boolean }): Listening {
  const second: NodeJS.Signals[] = [];
  const signals = listenToSignals({ clock, underNpm, exit: (code) => codes.push(code) });
  const listening: Listening = { ...signals, second, finish: () => undefined };
  signals.onSecondStop((signal) => {
    second.push(signal);
    return new Promise((resolve) => (listening.finish = resolve));
  });
  return listening;
}

describe('a second signal', () => {
  test('ends the process once the calls are cut off', async () => {
    const listening = listen({ underNpm: false });
    receive('SIGTERM');
    expect(await listening.stop).toBe('SIGTERM');
    clock.advance(100);
    receive('SIGTERM');
    expect(listening.second).toEqual(['SIGTERM']);
    expect(codes).toEqual([]);
    listening.finish();
    await until('the process has ended', () => codes.length > 0);
    expect(codes).toEqual([143]);
  });

  test('in the same moment, as `timeout` sends it, is the first one again', async () => {
    const { stop, second } = listen({ underNpm: false });
    receive('SIGTERM');
    clock.advance(99);
    receive('SIGTERM');
    expect(await stop).toBe('SIGTERM');
    expect(second).toEqual([]);
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
    async (_how, afterMs, signal, code) => {
      const listening = listen({ underNpm: true });
      receive('SIGTERM');
      clock.advance(afterMs);
      receive(signal);
      expect(listening.second).toEqual([signal]);
      listening.finish();
      await until('the process has ended', () => codes.length > 0);
      expect(codes).toEqual([code]);
    },
  );
});

test('a third signal ends the process although calls are still being cut off', () => {
  const { second } = listen({ underNpm: false });
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGTERM'] as const) receive(signal);
  expect(second).toEqual(['SIGINT']);
  expect(codes).toEqual([143]);
});
