import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Priority } from '../queue/fair-queue.ts';
import type { LinkedListItem } from '../util/linked-list.ts';
import type { CallerSignal, RemoveListener } from '../ledger/ledger.ts';
import type { Holding } from '../upstream/body-memory.ts';
import type { GatewayError, ProblemCode } from './problem.ts';

/**
 * How a call ended: `answered` with the API's answer, `shed` by us without sending, `failed` by us
 * or the API, or `aborted` by the caller.
 */
export type CallOutcome = 'answered' | 'shed' | 'failed' | 'aborted';

/**
 * One call from its arrival to its log line: what the walk has learned of it so far.
 *
 * It is also the caller's presence: steps that wait ask it whether anybody is still there.
 */
export class Call implements CallerSignal, LinkedListItem<Call> {
  readonly id: string;
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
  /** On `Clock.now`. */
  readonly arrivedAt: number;

  /** These three are the roll's that it stands on. */
  isLinked = false;
  previous: Call | undefined;
  next: Call | undefined;

  caller = '';
  path = '';
  query = '';
  bucket: string | undefined;
  class: string | undefined;
  priority: Priority | undefined;

  attempts = 0;
  /** Milliseconds in the queue and the lane, over all attempts. */
  waitMs = 0;
  /** Milliseconds from sending until the API's headers, over all attempts. */
  upstreamMs = 0;
  /** Bytes of the caller's body that we read. */
  bytesIn = 0;
  /** Bytes of the answer's body that we wrote. */
  bytesOut = 0;
  outcome: CallOutcome = 'failed';
  code: ProblemCode | undefined;

  /** The caller waits for `100 Continue` before it sends its body, and nobody has said so yet. */
  expectsContinue = false;
  /** An attempt is out, so its body's bytes are needed. */
  sending = false;
  /** What it holds of the memory for bodies. */
  holding: Holding | undefined;

  #gone = false;
  #cut: GatewayError | undefined;
  /** What waits for the caller to go; most calls have one listener at a time. */
  readonly #listeners: (() => void)[] = [];

  constructor(id: string, incoming: IncomingMessage, outgoing: ServerResponse, arrivedAt: number) {
    this.id = id;
    this.incoming = incoming;
    this.outgoing = outgoing;
    this.arrivedAt = arrivedAt;
    const onClose = (): void => {
      if (!outgoing.writableFinished) this.#leave();
    };
    outgoing.on('close', onClose);
    // A pipelined request has no socket to answer on until its turn, and Node tells it nothing. The
    // socket outlives it, and as many listen there as the caller pipelines.
    if (outgoing.socket === null) {
      const { socket } = incoming;
      socket.setMaxListeners(0).once('close', onClose);
      outgoing.once('close', () => socket.off('close', onClose));
    }
  }

  get gone(): boolean {
    return this.#gone;
  }

  /** Why we ended the call ourselves while the caller was still there. */
  get cut(): GatewayError | undefined {
    return this.#cut;
  }

  /**
   * Ends the call from our side, wherever it stands: it leaves its queue and is aborted upstream, as
   * if its caller had gone, and `error` is what the caller is told. The first word counts.
   */
  cutOff(error: GatewayError): void {
    if (this.#gone) return;
    this.#cut = error;
    this.#leave();
  }

  /** Lets a caller that waits for it send its body. */
  letBodyCome(): void {
    if (!this.expectsContinue) return;
    this.expectsContinue = false;
    this.outgoing.writeContinue();
  }

  onGone(listener: () => void): RemoveListener {
    const listeners = this.#listeners;
    listeners.push(listener);
    return () => {
      const at = listeners.indexOf(listener);
      if (at >= 0) listeners.splice(at, 1);
    };
  }

  #leave(): void {
    if (this.#gone) return;
    this.#gone = true;
    for (const listener of this.#listeners.splice(0)) listener();
  }

  /** Notes how it ended; the first word counts, what follows a failure is its consequence. */
  end(outcome: CallOutcome, code?: ProblemCode): void {
    this.outcome = outcome;
    this.code = code;
  }
}
