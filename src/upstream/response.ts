import type { Dispatcher } from 'undici';
import type { HeaderRecord } from '../rate-headers/rate-headers.ts';

/** Why there is no answer. */
export type FailureReason =
  | 'unreachable'
  | 'invalid'
  | 'timeout'
  | 'reset'
  | 'protocol'
  | 'aborted';

/** A body that broke off after its headers had come. */
export interface BodyFailure {
  readonly reason: FailureReason;
  readonly error: Error;
}

/** Where a response's body goes. */
export interface BodySink {
  /** Takes bytes; `false` asks to pause until {@link UpstreamResponse.resume}. */
  chunk(bytes: Buffer): boolean;
  /** The body is complete. Trailers come as name, value, name, value … */
  end(trailers: readonly string[]): void;
  /** The body broke off: what came is not all of it. */
  fail(failure: BodyFailure): void;
}

/** Bytes kept while nobody has attached; what fits is usually the whole of a small answer. */
const MAX_UNATTACHED_BYTES = 256 * 1024;
/** An unwanted body up to this is read to its end, to keep the socket; a larger one is cut off. */
const MAX_DISCARDED_BYTES = 64 * 1024;

/**
 * An answer of the API's, bytes as they came. Chunks that arrive before anybody attached are kept,
 * so that nothing is lost and a small answer can leave in one write.
 */
export class UpstreamResponse {
  readonly status: number;
  /** By lower-case name, for reading. */
  readonly headers: HeaderRecord;
  /** Name, value, name, value …, as they came, for passing on. */
  readonly rawHeaders: readonly string[];
  readonly #controller: Dispatcher.DispatchController;
  #chunks: Buffer[] = [];
  #kept = 0;
  #sink: BodySink | undefined;
  #trailers: readonly string[] | undefined;
  #failure: BodyFailure | undefined;
  #mostKept = MAX_UNATTACHED_BYTES;
  #onGathered: (() => void) | undefined;

  constructor(
    status: number,
    headers: HeaderRecord,
    rawHeaders: readonly string[],
    controller: Dispatcher.DispatchController,
  ) {
    this.status = status;
    this.headers = headers;
    this.rawHeaders = rawHeaders;
    this.#controller = controller;
  }

  /** Whether {@link whole} has something to hand out. */
  get isWhole(): boolean {
    return this.#trailers?.length === 0;
  }

  /** The body, if all of it is here already and there are no trailers; it is handed out once. */
  takeWhole(): Buffer[] | undefined {
    if (!this.isWhole) return undefined;
    const chunks = this.#chunks;
    this.#chunks = [];
    return chunks;
  }

  /**
   * Keeps up to `most` bytes of the body and resolves when all of it is here, or more than that, or
   * when it broke off: then to the failure. Nothing is lost to whoever takes the body afterwards.
   */
  gather(most: number): Promise<BodyFailure | undefined> {
    this.#mostKept = most;
    return new Promise((resolve) => {
      this.#onGathered = () => {
        this.#onGathered = undefined;
        resolve(this.#failure);
      };
      if (this.#kept > most || this.#trailers !== undefined || this.#failure !== undefined) {
        this.#onGathered();
      } else this.#controller.resume();
    });
  }

  /** Hands the body to `sink`, from its first byte on. */
  attach(sink: BodySink): void {
    this.#sink = sink;
    let paused = false;
    for (const chunk of this.#chunks) paused = !sink.chunk(chunk) || paused;
    this.#chunks = [];
    this.#kept = 0;
    if (this.#failure !== undefined) sink.fail(this.#failure);
    else if (this.#trailers !== undefined) sink.end(this.#trailers);
    else if (paused) this.#controller.pause();
    else this.#controller.resume();
  }

  /** Lets the body flow again after a sink asked to pause. */
  resume(): void {
    this.#controller.resume();
  }

  /** Breaks the exchange off; the socket is lost. */
  abort(error: Error): void {
    this.#controller.abort(error);
  }

  /** Reads a small body to its end and forgets it, so that the socket can be used again. */
  discard(): void {
    let dropped = 0;
    this.attach({
      chunk: (bytes) => {
        dropped += bytes.length;
        if (dropped > MAX_DISCARDED_BYTES) this.abort(new Error('an unwanted body was too long'));
        return true;
      },
      end: () => undefined,
      fail: () => undefined,
    });
  }

  /** For the exchange: more of the body came. */
  received(chunk: Buffer): void {
    if (this.#sink !== undefined) {
      if (!this.#sink.chunk(chunk)) this.#controller.pause();
      return;
    }
    this.#chunks.push(chunk);
    this.#kept += chunk.length;
    if (this.#kept <= this.#mostKept) return;
    this.#controller.pause();
    this.#onGathered?.();
  }

  /** For the exchange: the body is complete. */
  complete(trailers: readonly string[]): void {
    this.#trailers = trailers;
    this.#onGathered?.();
    this.#sink?.end(trailers);
  }

  /** For the exchange: the body broke off. */
  brokeOff(failure: BodyFailure): void {
    this.#failure = failure;
    this.#onGathered?.();
    this.#sink?.fail(failure);
  }
}
