import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Priority } from '../core/fair-queue.ts';
import type { Leaving } from '../ledger/ledger.ts';
import type { ProblemCode } from './problem.ts';

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
export class Call implements Leaving {
  readonly id: string;
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
  /** On `Clock.now`. */
  readonly arrivedAt: number;

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

  #gone = false;
  #onGone: (() => void) | undefined;

  constructor(id: string, incoming: IncomingMessage, outgoing: ServerResponse, arrivedAt: number) {
    this.id = id;
    this.incoming = incoming;
    this.outgoing = outgoing;
    this.arrivedAt = arrivedAt;
    outgoing.on('close', () => {
      if (outgoing.writableFinished) return;
      this.#gone = true;
      this.#onGone?.();
    });
  }

  get gone(): boolean {
    return this.#gone;
  }

  onGone(run: (() => void) | undefined): void {
    this.#onGone = run;
  }

  /** Notes how it ended; the first word counts, what follows a failure is its consequence. */
  end(outcome: CallOutcome, code?: ProblemCode): void {
    this.outcome = outcome;
    this.code = code;
  }
}
