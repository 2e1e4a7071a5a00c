import type { Clock, EndOfTurn, Timer } from '../../util/clock.ts';
import { BucketTrouble } from './bucket-trouble.ts';
import { inTime } from './in-time.ts';
import type { ScheduledSteps, StepScheduler } from './step-scheduler.ts';
import { readReply, type StepBatch, type StepDone, type StepReply } from './wire.ts';

/** The fields of a batch that say which step it is, and what the server may presume of it. */
export type StepHead = Pick<StepBatch, 'epoch' | 'sequence' | 'declares' | 'sheds'>;

/** What one step carries, with what its source needs to know of it when the step has ended. */
export interface Collected {
  readonly batch: StepBatch;
}

/** Whether there is something to report, and whether it has to be reported now. */
export type Urgency = 'none' | 'soon' | 'now';

/** The bucket that a loop takes steps for. */
export interface StepSource<C extends Collected> {
  readonly urgency: Urgency;
  /** Whether a ticket waits here that could use a socket. */
  readonly needsSocket: boolean;
  /** Returns what the next step carries. */
  collect(head: StepHead): C;
  /** The step succeeded. No further step starts before this returns. */
  apply(collected: C, reply: StepDone, sentAt: number): void;
  /** The epoch ended: what the failed step carried has to be reported again, if a step failed. */
  restore(collected: C | undefined): void;
}

export interface StepLoopOptions {
  readonly clock: Clock;
  readonly timeoutMs: number;
  /** What one turn of the event loop brings is sent with one step. */
  readonly atEndOfTurn: EndOfTurn;
  /** Runs one step; resolves to its reply as text. */
  readonly step: (bucketId: string, batch: string) => Promise<unknown>;
  /**
   * A step failed; with {@link BucketTrouble} if only this bucket is concerned. The loop tries again by
   * itself unless it is closed.
   */
  readonly onTrouble?: ((error: Error, bucketId: string) => void) | undefined;
}

/**
 * The steps of one bucket at one replica: collect, send, then apply or restore. One step is under
 * way at a time, and what happens meanwhile is sent with the next, so that the cost per request
 * falls as load rises. Within an epoch steps are numbered, and the first step of an epoch declares
 * everything (docs/decisions/0021).
 *
 *            a step fails or times out, the server lost or reverted its state
 *     ┌───────────┐ ◀─────────────────────────────────── ┌──────────┐
 *     │ declaring │                                      │ in touch │
 *     └───────────┘ ───────────────────────────────────▶ └──────────┘
 *            the first step of a new epoch succeeds
 */
export class StepLoop<C extends Collected> implements ScheduledSteps {
  readonly #source: StepSource<C>;
  readonly #bucketId: string;
  readonly #options: StepLoopOptions;
  readonly #scheduler: StepScheduler;
  #epoch: number;
  #sequence = 0;
  #declares = true;
  /** Sheds of this epoch that other replicas' steps reported to us. */
  #sheds = 0;

  /** What the step under way carries. */
  #underWay: C | undefined;
  #isApplying = false;
  /** Resolves when the last step that was started has been applied or restored. */
  #run: Promise<void> | undefined;
  /** A step is to start, also when there is nothing to report. */
  #isDue = false;
  /** A step starts when this turn of the event loop ends. */
  #isScheduled = false;
  #lingerTimer: Timer | undefined;
  #timer: Timer | undefined;
  #timerAt = 0;
  #lastSentAt = Number.NEGATIVE_INFINITY;
  #refusals = 0;
  #closed = false;

  constructor(
    source: StepSource<C>,
    bucketId: string,
    options: StepLoopOptions,
    scheduler: StepScheduler,
  ) {
    this.#source = source;
    this.#bucketId = bucketId;
    this.#options = options;
    this.#scheduler = scheduler;
    this.#epoch = scheduler.nextEpoch();
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** When the last step that succeeded was sent. */
  get lastSentAt(): number {
    return this.#lastSentAt;
  }

  get underWay(): C | undefined {
    return this.#underWay;
  }

  get stepping(): boolean {
    return this.#underWay !== undefined;
  }

  /** Whether a step is requested that has not started. */
  get isDue(): boolean {
    return this.#isDue;
  }

  get needsSocket(): boolean {
    return !this.#closed && this.#source.needsSocket;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Counts sheds that another replica's step reported to us; our next step confirms them. */
  countSheds(count: number): void {
    this.#sheds += count;
  }

  /** Requests a step, also when there is nothing to report: its reply shows what others did. */
  request(): void {
    this.#isDue = true;
    this.schedule();
  }

  /** As {@link request}, but the step starts only with the next call of {@link schedule}. */
  markDue(): void {
    this.#isDue = true;
  }

  /**
   * Starts a step at the end of this turn, or once the step under way has ended, if one is due or
   * its source has something to report now.
   */
  schedule(): void {
    if (this.#isScheduled || !this.#isWanted) return;
    this.#isScheduled = true;
    this.#options.atEndOfTurn(this.#onEndOfTurn);
  }

  proceed(): boolean {
    this.#start();
    return this.stepping;
  }

  /** Requests a step for `delayMs` from now at the latest. */
  requestWithin(delayMs: number): void {
    const { clock } = this.#options;
    const at = clock.now() + delayMs;
    if (this.#timer !== undefined && this.#timerAt <= at) return;
    this.#timer?.cancel();
    this.#timerAt = at;
    this.#timer = clock.after(delayMs, this.#onTimer);
  }

  /** Lets what there is to report wait for the next step, but no longer than a short while. */
  linger(): void {
    if (this.#closed) return;
    this.#lingerTimer ??= this.#options.clock.after(LINGER_MS, this.#onLingered);
  }

  /** Takes a last step if there is something to report, then closes. */
  async finish(): Promise<void> {
    // Nothing is tried again. The server expires by age what this cannot report any more.
    await this.#run;
    if (this.#source.urgency !== 'none' && !this.#closed) {
      this.#isDue = true;
      this.#start();
      await this.#run;
    }
    this.close();
  }

  /** Starts no further step, and ignores the reply to the step under way. */
  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#lingerTimer?.cancel();
  }

  get #isWanted(): boolean {
    if (this.stepping || this.#isApplying || this.#closed) return false;
    return this.#isDue || this.#source.urgency === 'now';
  }

  readonly #onEndOfTurn = (): void => {
    this.#isScheduled = false;
    this.#start();
  };

  readonly #onTimer = (): void => {
    this.#timer = undefined;
    this.request();
  };

  readonly #onLingered = (): void => {
    this.#lingerTimer = undefined;
    if (this.#source.urgency !== 'none') this.request();
  };

  #start(): void {
    if (!this.#isWanted || !this.#scheduler.admit(this)) return;
    this.#run = this.#step();
  }

  async #step(): Promise<void> {
    const collected = this.#collect();
    const sentAt = this.#options.clock.now();
    const reply = await this.#send(collected.batch);
    try {
      if (!this.#closed) this.#conclude(collected, reply, sentAt);
    } finally {
      this.#scheduler.ended(this);
    }
  }

  #collect(): C {
    const collected = this.#source.collect({
      epoch: this.#epoch,
      sequence: ++this.#sequence,
      declares: this.#declares,
      sheds: this.#sheds,
    });
    this.#underWay = collected;
    this.#isDue = false;
    this.#lingerTimer?.cancel();
    this.#lingerTimer = undefined;
    return collected;
  }

  async #send(batch: StepBatch): Promise<StepReply | Error> {
    const { step, timeoutMs, clock } = this.#options;
    try {
      const text = await inTime(step(this.#bucketId, JSON.stringify(batch)), timeoutMs, clock);
      return parseReply(text);
    } catch (thrown) {
      return thrown instanceof Error ? thrown : new Error(String(thrown));
    }
  }

  #conclude(collected: C, reply: StepReply | Error, sentAt: number): void {
    if (reply instanceof Error) return this.#fail(collected, reply);
    switch (reply.status) {
      case 'ok':
        return this.#apply(collected, reply, sentAt);
      case 'layout':
        return this.#fail(
          collected,
          new BucketTrouble(`the state has layout ${reply.found}, unknown to this version`),
        );
      case 'stale':
      case 'declare':
        if (++this.#refusals > MAX_REFUSALS) {
          const refused = new BucketTrouble(
            `the step was refused ${this.#refusals} times in a row`,
          );
          return this.#fail(collected, refused);
        }
        this.#beginEpoch(collected);
        return this.request();
      default:
        reply satisfies never;
    }
  }

  #apply(collected: C, reply: StepDone, sentAt: number): void {
    this.#underWay = undefined;
    this.#refusals = 0;
    this.#declares &&= !collected.batch.declares;
    this.#lastSentAt = sentAt;
    this.#isApplying = true;
    this.#source.apply(collected, reply, sentAt);
    this.#isApplying = false;
    if (reply.declare === true) {
      this.#beginEpoch(undefined);
      this.#isDue = true;
    }
    this.schedule();
  }

  #fail(collected: C, error: Error): void {
    this.#beginEpoch(collected);
    this.#refusals = 0;
    this.#isDue = true;
    this.requestWithin(RETRY_MS);
    this.#options.onTrouble?.(error, this.#bucketId);
  }

  /** Steps of the old epoch have no effect from now on, and the next step declares everything. */
  #beginEpoch(failed: C | undefined): void {
    this.#underWay = undefined;
    this.#epoch = this.#scheduler.nextEpoch();
    this.#sequence = 0;
    this.#declares = true;
    this.#sheds = 0;
    this.#source.restore(failed);
  }
}

/** Reads a reply, which can be wrong only if the bucket's data is. */
function parseReply(text: unknown): StepReply {
  try {
    return readReply(text);
  } catch (cause) {
    throw new BucketTrouble('the reply to the step is not valid', { cause });
  }
}

/** How long a settlement waits for a step that is taken for another reason. */
const LINGER_MS = 20;
const RETRY_MS = 500;
const MAX_REFUSALS = 3;
