import type { Tally } from './bounded-tallies.ts';
import { DurationHistogram } from './duration-histogram.ts';
import { OUTCOMES, type LoggedCall, type Outcome } from './log-line.ts';

/** From this on a call counts as one that waited: less is the queue's own bookkeeping. */
const WAITED_MS = 1;

/** What became of some calls, and how long they took. */
export class CallTally implements Tally<CallTally> {
  count = 0;
  /** Calls that waited for the budget. */
  waited = 0;
  readonly outcomes: Record<Outcome, number> = { answered: 0, shed: 0, failed: 0, aborted: 0 };
  readonly wait = new DurationHistogram();
  /** Of calls that were sent at all. */
  readonly upstream = new DurationHistogram();

  add(line: LoggedCall): void {
    this.count++;
    this.outcomes[line.outcome]++;
    if (line.waitMs >= WAITED_MS) this.waited++;
    this.wait.add(line.waitMs);
    if (line.attempts > 0) this.upstream.add(line.upstreamMs);
  }

  merge(other: CallTally): void {
    this.count += other.count;
    this.waited += other.waited;
    for (const outcome of OUTCOMES) this.outcomes[outcome] += other.outcomes[outcome];
    this.wait.merge(other.wait);
    this.upstream.merge(other.upstream);
  }
}

/** A minute of the log: few numbers, as there are many minutes. */
export class MinuteTally implements Tally<MinuteTally> {
  count = 0;
  waitMs = 0;
  throttled = 0;

  merge(other: MinuteTally): void {
    this.count += other.count;
    this.waitMs += other.waitMs;
    this.throttled += other.throttled;
  }
}

/** How many of something there were. */
export class CountTally implements Tally<CountTally> {
  count = 0;

  merge(other: CountTally): void {
    this.count += other.count;
  }
}
