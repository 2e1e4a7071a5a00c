import { Acquisition, JointGrant, refusalOf, type AcquisitionOptions } from './acquisition.ts';
import {
  NEVER_GONE,
  ticketsOf,
  type Admission,
  type BucketSnapshot,
  type BucketView,
  type CallerSignal,
  type Grant,
  type Ledger,
  type Outcome,
  type Retry,
  type Shed,
  type Ticket,
} from './ledger.ts';

/** Settles a grant with one outcome for all its buckets, or one for each, in their order. */
export interface SettlesEach {
  settle(grant: Grant, outcome: Outcome | readonly Outcome[]): void;
  /**
   * Reports the outcome of a request for a bucket from which it spent without a grant. It counts if the
   * bucket has an operation to spare now; else the bucket's next answers correct it.
   */
  spendUngranted(ticket: Ticket, outcome: Outcome): void;
}

/**
 * A ledger for requests that spend from several buckets. It acquires them one after another, in the
 * order of the ticket, and holds what it has: all requests have the same order, so no two wait for each
 * other. A grant that is held does not expire, and is returned when a later bucket refuses the request
 * or its caller has gone. Where a request has to wait, the buckets that follow are asked first whether
 * waiting can succeed there.
 *
 * A ticket of one bucket passes straight through.
 */
export class DrawsLedger implements Ledger, SettlesEach {
  readonly #options: AcquisitionOptions;
  readonly #ledger: Ledger;

  constructor(options: AcquisitionOptions) {
    this.#options = options;
    this.#ledger = options.ledger;
  }

  acquire(ticket: Ticket, signal: CallerSignal, retry?: Retry): Admission {
    if (ticket.others === undefined && ticket.quota === undefined) {
      return this.#ledger.acquire(ticket, signal, retry);
    }
    return new Acquisition(this.#options, ticket, signal, retry).start();
  }

  settle(grant: Grant, outcome: Outcome | readonly Outcome[]): void {
    const isJoint = grant instanceof JointGrant;
    if (!isJoint && !isList(outcome)) return this.#ledger.settle(grant, outcome);
    const expected = isJoint ? ticketsOf(grant.ticket).length : 1;
    if (isList(outcome) && outcome.length !== expected) {
      throw new Error(`expected an outcome for each of ${expected} buckets, got ${outcome.length}`);
    }
    const parts = isJoint ? grant.takeParts() : [grant];
    for (const [i, part] of parts.entries()) {
      const one = isList(outcome) ? outcome[i] : outcome;
      if (one !== undefined) this.#ledger.settle(part, one);
    }
  }

  spendUngranted(ticket: Ticket, outcome: Outcome): void {
    const now = this.#options.clock.now();
    const { others: _, quota: __, ...alone } = ticket;
    const once: Ticket = { ...alone, deadlineAt: now, needsNoSocket: true };
    const admission = this.#ledger.acquire(once, NEVER_GONE);
    if (admission.kind === 'granted') this.#ledger.settle(admission.grant, outcome);
    if (admission.kind !== 'waiting') return;
    void admission.outcome.then((ended) => {
      if (ended.kind === 'granted') this.#ledger.settle(ended.grant, outcome);
    });
  }

  renew(grant: Grant): Grant {
    if (!(grant instanceof JointGrant)) return this.#ledger.renew(grant);
    return grant.with(grant.takeParts().map((part) => this.#ledger.renew(part)));
  }

  refusal(ticket: Ticket): Shed | undefined {
    return refusalOf(this.#ledger, ticketsOf(ticket));
  }

  view(bucketId: string): BucketView | undefined {
    return this.#ledger.view(bucketId);
  }

  snapshot(): BucketSnapshot[] {
    return this.#ledger.snapshot();
  }

  etaMs(bucketId: string): number | undefined {
    return this.#ledger.etaMs(bucketId);
  }

  pause(bucketId: string): boolean {
    return this.#ledger.pause(bucketId);
  }

  resume(bucketId: string): boolean {
    return this.#ledger.resume(bucketId);
  }

  drain(untilMs: number): void {
    this.#ledger.drain(untilMs);
  }

  close(): Promise<void> {
    return this.#ledger.close();
  }
}

function isList(outcome: Outcome | readonly Outcome[]): outcome is readonly Outcome[] {
  return Array.isArray(outcome);
}
