import type { Clock, EndOfTurn, Timer } from '../../util/clock.ts';
import { inTime } from './in-time.ts';
import { readReply } from './wire.ts';
import type { StepBatch, StepDone, StepReply } from './wire.ts';

/** What every step of one epoch begins with: which it is, and what it may presume. */
export type StepHead = Pick<StepBatch, 'epoch' | 'sequence' | 'declares' | 'sheds'>;

/** What one step carries, and whatever its sender wants to know of it when it is over. */
export interface Load {
  readonly batch: StepBatch;
}

export interface StepsOptions<Carried extends Load> {
  readonly clock: Clock;
  readonly timeoutMs: number;
  /** What one turn of the event loop brings goes with one step. */
  readonly atEndOfTurn: EndOfTurn;
  /** Runs one step; resolves to its reply as text. */
  readonly run: (batch: string) => Promise<unknown>;
  /** Greater each time, over all buckets. */
  readonly nextEpoch: () => number;
  /** Whether there is something to tell. */
  readonly hasNews: () => boolean;
  /** Whether it has to be told now. */
  readonly isPressing: () => boolean;
  /** Whether a step may be taken now; when not, {@link StepLoop.proceed} is called later. */
  readonly mayStep: () => boolean;
  /** A step that might be taken is over. */
  readonly stepOver: () => void;
  /** Hands over what the next step is to carry. */
  readonly load: (head: StepHead) => Carried;
  /** A step was answered: what it says is so. */
  readonly apply: (carried: Carried, done: StepDone, sentAt: number) => void;
  /** All that followed at once from the answer has been done. */
  readonly applied: (done: StepDone) => void;
  /** A step is void: what it carried has to be told anew. `undefined`: only the epoch is over. */
  readonly revoke: (carried: Carried | undefined) => void;
  /** A step failed. The next one comes by itself unless this is closed. */
  readonly onTrouble: (error: Error) => void;
}

/**
 * The steps of one bucket at one replica, one under way at a time; what happens meanwhile goes with
 * the next, so that the cost per request falls as load rises. Within an epoch they are numbered, and
 * an epoch begins by declaring everything (docs/decisions/0021).
 *
 *            a step fails or times out, the server forgot or went back
 *     ┌───────────┐ ◀─────────────────────────────────── ┌──────────┐
 *     │ declaring │                                      │ in touch │
 *     └───────────┘ ───────────────────────────────────▶ └──────────┘
 *            the first step of a new epoch is answered
 */
export class StepLoop<Carried extends Load> {
  readonly #options: StepsOptions<Carried>;
  #epoch: number;
  #sequence = 0;
  #declares = true;
  /** Sheds of this epoch that other replicas' steps told us of. */
  #sheds = 0;

  #flight: Flight<Carried> | undefined;
  #isDue = false;
  /** A step is taken when this turn of the event loop ends. */
  #sending = false;
  /** Rings when settlements have waited long enough for a step that goes for another reason. */
  #lingerTimer: Timer | undefined;
  #timer: Timer | undefined;
  #timerAt = 0;
  #lastSentAt = Number.NEGATIVE_INFINITY;
  #refusals = 0;
  #closed = false;

  constructor(options: StepsOptions<Carried>) {
    this.#options = options;
    this.#epoch = options.nextEpoch();
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** When the last step that was answered had been sent. */
  get lastSentAt(): number {
    return this.#lastSentAt;
  }

  /** What the step under way carries. */
  get underWay(): Carried | undefined {
    return this.#flight?.carried;
  }

  /** Whether a step is to be taken whatever there is to tell. */
  get isDue(): boolean {
    return this.#isDue;
  }

  /** Whether the last step was taken. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Another replica's step told us of sheds; the next of ours says that it did. */
  heardOfSheds(count: number): void {
    this.#sheds += count;
  }

  /** Takes a step although there is nothing to tell: to hear what happened elsewhere. */
  take(): void {
    this.#isDue = true;
    this.send();
  }

  /** As {@link take}, for whoever calls {@link send} in a moment. */
  want(): void {
    this.#isDue = true;
  }

  /** Takes a step with all that this turn brings, or as soon as the one under way is answered. */
  send(): void {
    if (this.#sending || !this.#isWanted) return;
    this.#sending = true;
    this.#options.atEndOfTurn(() => {
      this.#sending = false;
      this.#sendNow();
    });
  }

  /** Takes the step that had to wait for others, if it is still wanted; says whether it did. */
  proceed(): boolean {
    this.#sendNow();
    return this.#flight !== undefined;
  }

  /** Takes a step in so long at the latest. */
  takeWithin(delayMs: number): void {
    const { clock } = this.#options;
    const at = clock.now() + delayMs;
    if (this.#timer !== undefined && this.#timerAt <= at) return;
    this.#timer?.cancel();
    this.#timerAt = at;
    this.#timer = clock.after(delayMs, () => {
      this.#timer = undefined;
      this.take();
    });
  }

  /** Tells what there is with the next step, or after a little while if there is none. */
  linger(): void {
    if (this.#closed) return;
    this.#lingerTimer ??= this.#options.clock.after(LINGER_MS, () => {
      this.#lingerTimer = undefined;
      if (this.#options.hasNews()) this.take();
    });
  }

  /** Takes a last step if there is something to tell, and none after it. */
  async finish(): Promise<void> {
    // Nothing is tried twice any more: what cannot be told now is found out by its age.
    await this.#flight?.over;
    if (this.#options.hasNews() && !this.#closed) {
      this.#isDue = true;
      this.#sendNow();
      await this.#flight?.over;
    }
    this.close();
  }

  /** Takes no step any more, and hears nothing of the one under way. */
  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#lingerTimer?.cancel();
  }

  get #isWanted(): boolean {
    if (this.#flight !== undefined || this.#closed) return false;
    return this.#isDue || this.#options.isPressing();
  }

  #sendNow(): void {
    const { clock, timeoutMs, run, load, mayStep, stepOver } = this.#options;
    if (!this.#isWanted || !mayStep()) return;
    const carried = load({
      epoch: this.#epoch,
      sequence: ++this.#sequence,
      declares: this.#declares,
      sheds: this.#sheds,
    });
    this.#isDue = false;
    this.#lingerTimer?.cancel();
    this.#lingerTimer = undefined;
    const flight: Flight<Carried> = { carried, sentAt: clock.now(), over: Promise.resolve() };
    const sent = run(JSON.stringify(carried.batch)).then(readReply);
    flight.over = inTime(sent, timeoutMs, clock).then(
      (reply) => this.#answered(flight, reply),
      (error: unknown) => this.#failed(flight, toError(error)),
    );
    this.#flight = flight;
    void flight.over.finally(stepOver);
  }

  #answered(flight: Flight<Carried>, reply: StepReply): void {
    if (flight !== this.#flight || this.#closed) return;
    if (reply.status === 'ok') {
      this.#done(flight, reply);
    } else if (reply.status === 'layout') {
      this.#failed(
        flight,
        new Error(`the state has layout ${reply.found}, unknown to this version`),
      );
    } else if (++this.#refusals > MOST_REFUSALS) {
      this.#failed(flight, new Error(`the step was refused ${this.#refusals} times in a row`));
    } else {
      this.#begin(flight);
      this.take();
    }
  }

  #done({ carried, sentAt }: Flight<Carried>, done: StepDone): void {
    this.#flight = undefined;
    this.#refusals = 0;
    this.#declares &&= !carried.batch.declares;
    this.#lastSentAt = sentAt;
    this.#options.apply(carried, done, sentAt);
    if (done.declare === true) {
      this.#begin(undefined);
      this.#isDue = true;
    }
    this.send();
    this.#options.applied(done);
  }

  #failed(flight: Flight<Carried>, error: Error): void {
    if (flight !== this.#flight || this.#closed) return;
    this.#begin(flight);
    this.#refusals = 0;
    this.#isDue = true;
    this.takeWithin(RETRY_MS);
    this.#options.onTrouble(error);
  }

  /** Begins a new epoch: steps under way are void from now on, and the next declares everything. */
  #begin(flight: Flight<Carried> | undefined): void {
    this.#flight = undefined;
    this.#epoch = this.#options.nextEpoch();
    this.#sequence = 0;
    this.#declares = true;
    this.#sheds = 0;
    this.#options.revoke(flight?.carried);
  }
}

/** A step under way. */
interface Flight<Carried> {
  readonly carried: Carried;
  readonly sentAt: number;
  over: Promise<void>;
}

const LINGER_MS = 20;
const RETRY_MS = 500;
const MOST_REFUSALS = 3;

function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
