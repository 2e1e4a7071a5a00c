import type { Clock } from '../../util/clock.ts';

/** A step that got no answer in time. It may still run, later. */
export class StepTimeout extends Error {
  constructor(timeoutMs: number) {
    super(`no answer within ${timeoutMs} ms`);
    this.name = 'StepTimeout';
  }
}

/**
 * Rejects when `promise` takes longer than `timeoutMs`, judged after one further turn of the event
 * loop: where we ourselves stood still, the answer lies in the socket by then and is read first.
 */
export function inTime<T>(promise: Promise<T>, timeoutMs: number, clock: Clock): Promise<T> {
  return new Promise((resolve, reject) => {
    let timer = clock.after(timeoutMs, () => {
      timer = clock.after(0, () => reject(new StepTimeout(timeoutMs)));
    });
    void promise.then(resolve, reject).finally(() => timer.cancel());
  });
}
