import type { Dispatcher } from 'undici';
import type { HeaderRecord } from '../rate-headers/rate-headers.ts';
import type { Clock } from '../util/clock.ts';

/** Why there is no answer, or no complete one. */
export type FailureReason =
  | 'unreachable'
  | 'invalid'
  | 'timeout'
  | 'reset'
  | 'protocol'
  | 'aborted';

/** Why a body broke off after its headers had arrived. */
export interface BodyFailure {
  readonly reason: FailureReason;
  readonly error: Error;
}

/** Receives the body of a response. */
export interface BodySink {
  /** Receives bytes; returns false to pause until {@link UpstreamResponse.resume}. */
  chunk(bytes: Buffer): boolean;
  /** The body is complete. Trailers: name, value, name, value … */
  end(trailers: readonly string[]): void;
  /** The body broke off and is incomplete. */
  fail(failure: BodyFailure): void;
}

/** Reads a body while it passes. */
export interface BodyWatcher {
  chunk(bytes: Buffer): void;
  /** No more bytes follow. `isComplete`: the body did not break off. */
  end(isComplete: boolean): void;
}

/** Bytes kept before a sink is attached; enough for the whole body of a small answer. */
const MAX_UNATTACHED_BYTES = 256 * 1024;
/**
 * A discarded body up to this size is read to its end, to keep the socket; a larger one is aborted.
 */
const MAX_DISCARDED_BYTES = 64 * 1024;

/**
 * An answer of the API, its bytes unchanged. Chunks that arrive before a sink is attached are kept,
 * so that none is lost and a small answer can be sent in one write.
 */
export class UpstreamResponse {
  readonly status: number;
  /** The API's own words for the status; empty if it sent none. */
  readonly reason: string;
  /** By lower-case name, to be read. */
  readonly headers: HeaderRecord;
  /** Name, value, name, value …, unchanged, to be passed on. */
  readonly rawHeaders: readonly string[];
  readonly #controller: Dispatcher.DispatchController;
  #chunks: Buffer[] = [];
  #kept = 0;
  #sink: BodySink | undefined;
  #watcher: BodyWatcher | undefined;
  #trailers: readonly string[] | undefined;
  #failure: BodyFailure | undefined;
  #maxKept = MAX_UNATTACHED_BYTES;
  #onGathered: (() => void) | undefined;

  constructor(
    status: number,
    reason: string,
    headers: HeaderRecord,
    rawHeaders: readonly string[],
    controller: Dispatcher.DispatchController,
  ) {
    this.status = status;
    this.reason = reason;
    this.headers = headers;
    this.rawHeaders = rawHeaders;
    this.#controller = controller;
  }

  /** Why the body broke off, if it did. */
  get failure(): BodyFailure | undefined {
    return this.#failure;
  }

  /** Whether {@link takeWhole} returns the body. */
  get isWhole(): boolean {
    return this.#trailers?.length === 0;
  }

  /** Returns the body, once, if all of it has arrived and there are no trailers. */
  takeWhole(): Buffer[] | undefined {
    if (!this.isWhole) return undefined;
    const chunks = this.#chunks;
    this.#chunks = [];
    return chunks;
  }

  /**
   * Keeps up to `maxBytes` of the body. Resolves when it is complete, larger than that, or broken
   * off: then to the failure. The bytes are still there for {@link takeWhole} or {@link attach}.
   */
  gather(maxBytes: number): Promise<BodyFailure | undefined> {
    this.#maxKept = maxBytes;
    return new Promise((resolve) => {
      this.#onGathered = () => {
        this.#onGathered = undefined;
        resolve(this.#failure);
      };
      if (this.#kept > maxBytes || this.#trailers !== undefined || this.#failure !== undefined) {
        this.#onGathered();
      } else this.#controller.resume();
    });
  }

  /** As {@link gather}, but resolves to `slow` if that takes longer than `withinMs`. */
  gatherInTime(
    maxBytes: number,
    withinMs: number,
    clock: Clock,
  ): Promise<BodyFailure | 'slow' | undefined> {
    return new Promise((resolve) => {
      const timer = clock.after(withinMs, () => resolve('slow'));
      void this.gather(maxBytes).then((failure) => {
        timer.cancel();
        resolve(failure);
      });
    });
  }

  /** The bytes that were gathered; the rest of the body has not arrived. */
  get gathered(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  /** Replaces the bytes that were gathered. */
  replaceGathered(bytes: Buffer): void {
    this.#chunks = [bytes];
  }

  /**
   * Shows the body to `watcher` as it arrives from the API, from its first byte, until {@link unwatch}.
   * The body passes unchanged, and is not read faster. Before the body is taken.
   */
  watch(watcher: BodyWatcher): void {
    this.#watcher = watcher;
    for (const chunk of this.#chunks) this.#watcher?.chunk(chunk);
    if (this.#failure !== undefined) this.#watcher?.end(false);
    else if (this.#trailers !== undefined) this.#watcher?.end(true);
  }

  unwatch(): void {
    this.#watcher = undefined;
  }

  /** Passes the body to `sink`, from its first byte. */
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

  /** Resumes the body after the sink has paused it. */
  resume(): void {
    this.#controller.resume();
  }

  /** Aborts the exchange, which closes its socket. */
  abort(error: Error): void {
    this.#controller.abort(error);
  }

  /** Reads a small body to its end without keeping it, so that the socket can be reused. */
  discard(): void {
    let discarded = 0;
    this.attach({
      chunk: (bytes) => {
        discarded += bytes.length;
        if (discarded > MAX_DISCARDED_BYTES) this.abort(new Error('a discarded body was too long'));
        return true;
      },
      end: () => undefined,
      fail: () => undefined,
    });
  }

  /** Called by the exchange: more of the body arrived. */
  received(chunk: Buffer): void {
    this.#watcher?.chunk(chunk);
    if (this.#sink !== undefined) {
      if (!this.#sink.chunk(chunk)) this.#controller.pause();
      return;
    }
    this.#chunks.push(chunk);
    this.#kept += chunk.length;
    if (this.#kept <= this.#maxKept) return;
    this.#controller.pause();
    this.#onGathered?.();
  }

  /** Called by the exchange: the body is complete. */
  complete(trailers: readonly string[]): void {
    this.#trailers = trailers;
    this.#watcher?.end(true);
    this.#onGathered?.();
    this.#sink?.end(trailers);
  }

  /** Called by the exchange: the body broke off. */
  brokeOff(failure: BodyFailure): void {
    this.#failure = failure;
    this.#watcher?.end(false);
    this.#onGathered?.();
    this.#sink?.fail(failure);
  }
}
