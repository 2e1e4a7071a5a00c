import type { Writable } from 'node:stream';

/** The output of the command. It buffers no more than one batch when the reader is slow. */
export interface Output {
  /** Resolves when there is room for more. Does nothing once the reader has closed. */
  write(text: string): Promise<void>;
  /** Aborts when the reader closes, as `head` does when it has enough lines. */
  readonly closed: AbortSignal;
}

export function makeOutput(stream: Writable): Output {
  const closed = new AbortController();
  let onRoom: (() => void) | undefined;
  const resume = (): void => {
    onRoom?.();
    onRoom = undefined;
  };
  stream.on('drain', resume);
  // A reader that closes early is not an error.
  stream.on('error', () => {
    closed.abort();
    resume();
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

/** Several files may be followed at once, and all of them wait for the same reader. */
function chain(first: (() => void) | undefined, second: () => void): () => void {
  return first === undefined
    ? second
    : () => {
        first();
        second();
      };
}
