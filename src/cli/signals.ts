import { constants } from 'node:os';
import { isatty } from 'node:tty';
import type { Clock } from '../util/clock.ts';

/** The signals that the gateway handles. */
export interface Signals {
  /** Resolves at the first SIGTERM or SIGINT, or at the SIGHUP of a terminal that was closed. */
  readonly stop: Promise<NodeJS.Signals>;
  /**
   * Sets a listener of the second signal to stop. The process exits right after it, with the exit
   * code that a shell expects.
   */
  onSecondStop(listener: (signal: NodeJS.Signals) => void): void;
  /** Sets a listener of SIGHUP. It is called at once if the signal arrived before. */
  onReload(listener: () => void): void;
}

export interface SignalOptions {
  readonly clock: Pick<Clock, 'now'>;
  /** Whether npm started the gateway. */
  readonly underNpm: boolean;
}

/**
 * npm forwards each SIGTERM and SIGINT. A terminal and systemd send one to all processes of a group,
 * so the gateway receives the same signal twice, and the second one is no further request.
 */
const FORWARDED_WITHIN_MS = 1000;

/** Listens from now on, so that a signal that comes while the gateway starts is not lost. */
export function listenToSignals({ clock, underNpm }: SignalOptions): Signals {
  let onSecond: ((signal: NodeJS.Signals) => void) | undefined;
  let reload: (() => void) | undefined;
  let reloadAsked = false;
  let stopped: { readonly signal: NodeJS.Signals; readonly at: number } | undefined;
  const terminals = [0, 1, 2].filter(isatty);

  const stop = new Promise<NodeJS.Signals>((resolve) => {
    const onStop = (signal: NodeJS.Signals): void => {
      const now = clock.now();
      if (stopped !== undefined) {
        const isForwarded = underNpm && now - stopped.at < FORWARDED_WITHIN_MS;
        if (isForwarded && signal === stopped.signal) return;
        onSecond?.(signal);
        process.exit(128 + constants.signals[signal]);
      }
      stopped = { signal, at: now };
      resolve(signal);
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
