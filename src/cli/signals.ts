import { constants } from 'node:os';
import { isatty } from 'node:tty';
import type { Clock } from '../util/clock.ts';

/** What the process is told from outside. */
export interface Signals {
  /** Resolves at the first SIGTERM or SIGINT, or at the SIGHUP of a terminal that was closed. */
  readonly stop: Promise<NodeJS.Signals>;
  /** Sets what to call at a further one; the process ends right after, with a shell's exit code. */
  onImpatient(run: (signal: NodeJS.Signals) => void): void;
  /** Sets what to call at SIGHUP; one that came before that is called for at once. */
  onReload(run: () => void): void;
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
  let impatient: ((signal: NodeJS.Signals) => void) | undefined;
  let reload: (() => void) | undefined;
  let reloadAsked = false;
  let asked: { readonly signal: NodeJS.Signals; readonly at: number } | undefined;
  const terminals = [0, 1, 2].filter(isatty);

  const stop = new Promise<NodeJS.Signals>((resolve) => {
    const onStop = (signal: NodeJS.Signals): void => {
      const now = clock.now();
      if (asked !== undefined) {
        const isForwarded = underNpm && now - asked.at < FORWARDED_WITHIN_MS;
        if (isForwarded && signal === asked.signal) return;
        impatient?.(signal);
        process.exit(128 + constants.signals[signal]);
      }
      asked = { signal, at: now };
      resolve(signal);
    };
    process.on('SIGTERM', onStop);
    process.on('SIGINT', onStop);
    process.on('SIGHUP', () => {
      // The kernel says it, too, when somebody closes the terminal that we run in: that is no wish
      // for other settings, and nobody is left to stop us. A terminal that hung up is none any more.
      if (terminals.length > 0 && !terminals.some(isatty)) onStop('SIGHUP');
      else if (reload === undefined) reloadAsked = true;
      else reload();
    });
  });
  return {
    stop,
    onImpatient: (run) => (impatient = run),
    onReload(run) {
      reload = run;
      if (reloadAsked) run();
    },
  };
}
