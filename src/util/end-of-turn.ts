import type { EndOfTurn } from './clock.ts';

export interface EndOfTurnDependencies {
  /** Whether other calls are in flight, whose writes may follow in the same iteration. */
  readonly busy: () => boolean;
}

/**
 * Makes an {@link EndOfTurn}, which batches small writes: it collects them until the end of the
 * current event-loop iteration (`setImmediate`), and then makes them one after the other.
 *
 * Each write wakes the process or device at the other end. When writes are batched, only the first
 * one has to wake it, which saves a third of the cost of a call (bench/README.md). If no other call
 * is in flight there is nothing to batch with, and the write is made at once.
 */
export function makeEndOfTurn({ busy }: EndOfTurnDependencies): EndOfTurn {
  let pending: (() => void)[] = [];
  const flush = (): void => {
    const runs = pending;
    pending = [];
    for (const run of runs) run();
  };
  return (run) => {
    if (pending.length === 0) {
      if (!busy()) return run();
      setImmediate(flush);
    }
    pending.push(run);
  };
}
