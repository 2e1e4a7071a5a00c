import { constants } from 'node:os';
import { isatty } from 'node:tty';
import type { Clock } from '../util/clock.ts';

/** The signals that the gateway handles. */
export interface Signals {
  /** Resolves at the first SIGTERM or SIGINT, or at the SIGHUP of a terminal that was closed. */
  readonly stop: Promise<NodeJS.Signals>;
  /**
   * Sets a listener of the second signal to stop. The process exits when its promise settles, with
   * the exit code that a shell expects. At a third signal it exits at once.
   */
  onSecondStop(listener: (signal: NodeJS.Signals) => Promise<void>): void;
  /** Sets a listener of SIGHUP. It is called at once if the signal arrived before. */
  onReload(listener: () => void): void;
}

export interface SignalOptions {
  readonly clock: Pick<Clock, 'now'>;
  /** Whether npm started the gateway. */
  readonly underNpm: boolean;
  /** Ends the process. */
  readonly exit: (code: number) => void;
}

/**
 * The same signal again within this time is no further request to stop. `timeout` sends one to its
 * child and then to the whole group. A person needs longer to press Ctrl-C twice.
 */
const REPEATED_WITHIN_MS = 100;
/**
 * The same under npm, which forwards each SIGTERM and SIGINT. A terminal and systemd send one to all
 * processes of a group as well.
 */
const FORWARDED_WITHIN_MS = 1000;

/** Listens from now on, so that a signal that comes while the gateway starts is not lost. */
export function listenToSignals({ clock, underNpm, exit }: SignalOptions): Signals {
  const repeatedWithinMs = underNpm ? FORWARDED_WITHIN_MS : REPEATED_WITHIN_MS;
  let onSecond: (signal: NodeJS.Signals) => Promise<void> = () => Promise.resolve();
  let reload: (() => void) | undefined;
  let reloadAsked = false;
  let last: { readonly signal: NodeJS.Signals; readonly at: number } | undefined;
  let stops = 0;
  const terminals = [0, 1, 2].filter(isatty);

  const stop = new Promise<NodeJS.Signals>((resolve) => {
    const onStop = (signal: NodeJS.Signals): void => {
      const now = clock.now();
      if (signal === last?.signal && now - last.at < repeatedWithinMs) return;
      last = { signal, at: now };
      stops++;
      const end = (): void => exit(128 + constants.signals[signal]);
      if (stops === 1) resolve(signal);
      else if (stops === 2) void onSecond(signal).then(end, end);
      else end();
    };
    process.on('SIGTERM', onStop);
    process.on('SIGINT', onStop);
    process.on('SIGHUP', () => {
      // The kernel also sends SIGHUP when the terminal of the process closes. That is not a reload, and
      // without the terminal no Ctrl-C can follow, so it stops the gateway. `isatty` is false then.
      if (terminals.length > 0 && !terminals.some(isatty)) onStop('SIGHUP');
      else if (reload === undefined) reloadAsked = true;
      else reload();
    });
  });
  return {
    stop,
    onSecondStop: (listener) => (onSecond = listener),
    onReload(listener) {
      reload = listener;
      if (reloadAsked) listener();
    },
  };
}
