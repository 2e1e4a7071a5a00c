import type { SettlesEach } from '../../ledger/draws-ledger.ts';
import { ticketsAtApi, type Grant, type Ticket } from '../../ledger/ledger.ts';
import type { PipelineObserver } from '../../telemetry/pipeline-observer.ts';
import type { AnsweredAttempt } from '../../upstream/exchange.ts';
import { isStatedLimit, type Attributed } from './attribute.ts';
import { outcomeAt, type ResultAtBucket } from './bucket-outcome.ts';
import { outcomeAtQuota } from '../identify/caller-quota.ts';
import type { Job } from '../identify.ts';
import type { Refused } from './interpret-answer.ts';
import { redraw, type RedrawDependencies, type WaitingJobs } from '../admit/waiting-jobs.ts';

/** Reports to each of a request's buckets what its answer means there. Each settles the grant. */
export interface SettleBuckets {
  /** The API accepted the request. */
  accepted(job: Job, grant: Grant, attributed: Attributed, sent: AnsweredAttempt): void;
  /**
   * The API refused the request. Returns the tickets at the API's buckets from which it spent, by their
   * positions: see {@link Attributed.refusing}.
   */
  refused(
    job: Job,
    grant: Grant,
    attributed: Attributed,
    sent: AnsweredAttempt,
    refused: Refused,
  ): readonly (Ticket | undefined)[];
}

export interface SettleBucketsDependencies extends RedrawDependencies {
  readonly ledger: SettlesEach;
  readonly observer: Pick<PipelineObserver, 'accepted'>;
  readonly waitingJobs: Pick<WaitingJobs, 'move'>;
}

export function makeSettleBuckets(dependencies: SettleBucketsDependencies): SettleBuckets {
  const { ledger, observer, waitingJobs } = dependencies;

  /** Settles the grant of an accepted request. Most of them spent from one bucket, as expected. */
  function settleAccepted(
    job: Job,
    grant: Grant,
    attributed: Attributed,
    sent: AnsweredAttempt,
  ): void {
    const { readings, unexpected } = attributed;
    const [only] = readings;
    const { bucket, quota } = job.ticket;
    const isOfOne = readings.length === 1 && unexpected.length === 0 && quota === undefined;
    if (isOfOne && only !== undefined) {
      observer.accepted(bucket.id, bucket.class);
      ledger.settle(grant, outcomeAt(only, 'accepted', sent));
      return;
    }
    for (const spent of settleEach(job, grant, attributed, sent, undefined)) {
      if (spent !== undefined) observer.accepted(spent.bucket.id, spent.bucket.class);
    }
  }

  /**
   * Reports the outcome to each bucket: those of the grant, and those from which the request spent
   * without one. Returns the tickets at the API's buckets from which it spent, by position.
   */
  function settleEach(
    job: Job,
    grant: Grant,
    { readings, unexpected }: Attributed,
    sent: AnsweredAttempt,
    refused: Refused | undefined,
  ): (Ticket | undefined)[] {
    const tickets = ticketsAtApi(job.ticket);
    const resultAt = (at: number): ResultAtBucket => {
      if (refused === undefined) return 'accepted';
      return at === refused.at ? refused.what : 'elsewhere';
    };
    const outcomes = readings.map((reading, at) => outcomeAt(reading, resultAt(at), sent));
    const { quota } = job.ticket;
    if (quota !== undefined) {
      const cost = readings.find((reading) => reading?.cost !== undefined)?.cost;
      outcomes.unshift(outcomeAtQuota(quota, sent, refused !== undefined, cost));
    }
    const hasLearned = unexpected.length > 0 || readings.includes(undefined);
    // Requests that wait for this bucket alone are granted next, unless they spend from others as well.
    if (hasLearned) waitingJobs.move();
    ledger.settle(grant, outcomes);
    const spent = tickets.map((ticket, at) => (readings[at] === undefined ? undefined : ticket));
    if (hasLearned) redraw(job, dependencies);
    for (const { name, reading } of unexpected) {
      const ticket = ticketOfClass(job.ticket, name);
      if (ticket !== undefined) {
        ledger.spendUngranted(ticket, outcomeAt(reading, resultAt(spent.length), sent));
      }
      spent.push(ticket);
    }
    return spent;
  }

  return { accepted: settleAccepted, refused: settleEach };
}

/** The ticket at a bucket of the class, by its learned name; empty for the class's own bucket. */
function ticketOfClass(ticket: Ticket, learnedName: string): Ticket | undefined {
  return ticketsAtApi(ticket).find(({ bucket }) => {
    return !isStatedLimit(bucket) && (bucket.name ?? '') === learnedName;
  });
}
