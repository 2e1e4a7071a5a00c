import type { Writable } from 'node:stream';

/** Where lines are printed; it keeps no more than one batch when the reader is slow. */
export interface Output {
  /** Resolves when there is room for more. After the reader went away it does nothing. */
  write(text: string): Promise<void>;
  /** Aborts when the reader went away, as `head` does when it has enough. */
  readonly closed: AbortSignal;
}

export function makeOutput(stream: Writable): Output {
  const closed = new AbortController();
  let onRoom: (() => void) | undefined;
  const goOn = (): void => {
    onRoom?.();
    onRoom = undefined;
  };
  stream.on('drain', goOn);
  // A reader that has enough is no failure; there is just nobody left to write to.
  stream.on('error', () => {
    closed.abort();
    goOn();
  });
  return {
    closed: closed.signal,
    write(text) {
      if (text === '' || closed.signal.aborted || stream.write(text)) return Promise.resolve();
      return new Promise((resolve) => {
        onRoom = chain(onRoom, resolve);
      });
    },
  };
}

/** Several files may be followed at once, and all wait for the same reader. */
function chain(first: (() => void) | undefined, second: () => void): () => void {
  return first === undefined
    ? second
    : () => {
        first();
        second();
      };
}
