import type { Clock } from '../../util/clock.ts';

/** Redis did not answer in time. The command may still run later. */
export class StepTimeout extends Error {
  constructor(timeoutMs: number) {
    super(`no answer within ${timeoutMs} ms`);
    this.name = 'StepTimeout';
  }
}

/**
 * Rejects with {@link StepTimeout} when `promise` takes longer than `timeoutMs`. It decides one turn
 * of the event loop later: if this process was blocked, a reply that has arrived is read first.
 */
export function inTime<T>(promise: Promise<T>, timeoutMs: number, clock: Clock): Promise<T> {
  return new Promise((resolve, reject) => {
    let timer = clock.after(timeoutMs, () => {
      timer = clock.after(0, () => reject(new StepTimeout(timeoutMs)));
    });
    void promise.then(resolve, reject).finally(() => timer.cancel());
  });
}
