import type { LearnedDraws } from '../../draws/learned-draws.ts';
import type { LearnedDraw } from '../../draws/lesson.ts';
import type { Clock, Timer } from '../../util/clock.ts';
import { LinkedList, type LinkedListItem } from '../../util/linked-list.ts';
import { ticketFor, type DrawsOf } from '../identify/draws.ts';
import type { Job } from '../identify.ts';

export interface RedrawDependencies {
  readonly drawsOf: DrawsOf;
  readonly learned: Pick<LearnedDraws, 'drawsOf' | 'changesOf'>;
}

/** Gives a request the buckets from which it spends by what was learned. */
export function redraw(job: Job, { drawsOf, learned }: RedrawDependencies): void {
  const { rule, credential, method, costOf, call } = job;
  job.learned = learned.drawsOf(rule.name, method, call.identity.path);
  const { quota } = job.ticket;
  const ticket = ticketFor(drawsOf(rule, credential, job.learned), costOf, job.ticket);
  job.ticket = quota === undefined ? ticket : { ...ticket, quota };
  const { bucket, others } = job.ticket;
  call.redrawn(
    bucket,
    others?.map((one) => one.bucket),
  );
}

/** A request that waits for its budget. */
interface WaitingJob extends LinkedListItem<WaitingJob> {
  readonly job: Job;
  /** How often the lessons on its class had changed when it was looked at last. */
  changes: number;
}

/** How long a lesson of another replica is not known to the requests that wait. */
const LOOK_MS = 500;

/**
 * The requests that wait for their budgets. When answers, here or at another replica, show that some
 * spend from other buckets, these leave their queue and wait at the right one. They keep their age and
 * deadline. Else they would wait for a counter that is not theirs, for up to its whole window.
 */
export class WaitingJobs {
  readonly #clock: Clock;
  readonly #redraw: RedrawDependencies;
  readonly #waiting = new LinkedList<WaitingJob>();
  #timer: Timer | undefined;

  constructor(clock: Clock, dependencies: RedrawDependencies) {
    this.#clock = clock;
    this.#redraw = dependencies;
  }

  /**
   * Runs the wait of a request: once, and again with `acquire` whenever it was moved. Resolves to the
   * outcome of the last one.
   */
  async wait<T extends { readonly kind: string }>(
    job: Job,
    first: Promise<T>,
    acquire: () => T | Promise<T>,
  ): Promise<T> {
    const waiting: WaitingJob = {
      job,
      changes: -1,
      isLinked: false,
      previous: undefined,
      next: undefined,
    };
    this.#waiting.add(waiting);
    this.#timer ??= this.#clock.after(LOOK_MS, this.#look);
    try {
      let outcome = await first;
      while (outcome.kind === 'cancelled' && !job.call.gone) {
        redraw(job, this.#redraw);
        outcome = await acquire();
      }
      return outcome;
    } finally {
      this.#waiting.delete(waiting);
      if (this.#waiting.size === 0) this.#stop();
    }
  }

  /** Moves the requests that spend from other buckets than those at which they wait. */
  move(): void {
    const { learned } = this.#redraw;
    for (const waiting of this.#waiting.all) {
      const { rule, method, call, learned: before } = waiting.job;
      const changes = learned.changesOf(rule.name);
      if (changes === waiting.changes) continue;
      waiting.changes = changes;
      const now = learned.drawsOf(rule.name, method, call.identity.path);
      if (!isSame(before, now)) call.leaveQueue();
    }
  }

  readonly #look = (): void => {
    this.move();
    this.#timer = this.#clock.after(LOOK_MS, this.#look);
  };

  #stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}

function isSame(
  one: readonly LearnedDraw[] | undefined,
  other: readonly LearnedDraw[] | undefined,
): boolean {
  if (one === undefined || other === undefined || one === other) return one === other;
  return one.length === other.length && one.every(({ name }, at) => name === other[at]?.name);
}
