import { Agent } from 'node:http';
import { onTestFinished } from 'vitest';
import { ask, type Answer, type AskOptions } from './ask.ts';
import { FakeClock } from './fake-clock.ts';
import { startGateway, type GatewayOptions, type TestGateway } from './gateway.ts';
import { bucketsOf } from './setup.ts';

/** How long calls may move at one moment of the clock before a test fails with where they are. */
const PATIENCE_MS = 120_000;

/** A simulated API, as far as the clock depends on it. */
interface TimedApi {
  readonly url: string;
  /** Requests that it holds for its latency now. */
  readonly delayed: number;
  close(): Promise<void>;
}

/**
 * Calls over real sockets on one fake clock, which the callers, the gateway and the API share. The
 * clock moves only when each call is answered, waits for the budget, or is held by the API for its
 * latency. So the result does not depend on the speed of the machine.
 */
export class TimedCalls<Api extends TimedApi> {
  readonly api: Api;
  readonly gateway: TestGateway;
  readonly clock: FakeClock;
  readonly answers: Answer[] = [];
  readonly #agent = new Agent({ keepAlive: true, maxSockets: Infinity });
  #sent = 0;
  /** Why a call has no answer. */
  #failure: unknown;

  private constructor(api: Api, gateway: TestGateway, clock: FakeClock) {
    this.api = api;
    this.gateway = gateway;
    this.clock = clock;
  }

  /** Starts the API and the gateway for one test; the lane must not hold calls back. */
  static async start<A extends TimedApi>(
    startTimedApi: (clock: FakeClock) => Promise<A>,
    options: Omit<GatewayOptions, 'upstream' | 'clock'> = {},
  ): Promise<TimedCalls<A>> {
    const clock = new FakeClock();
    const api = await startTimedApi(clock);
    onTestFinished(() => api.close());
    const settings = { HEADGATE_LANE_CONCURRENCY: '1000', ...options.settings };
    const gateway = await startGateway({ ...options, upstream: api.url, settings, clock });
    onTestFinished(() => gateway.stop());
    const calls = new TimedCalls(api, gateway, clock);
    onTestFinished(() => calls.#agent.destroy());
    return calls;
  }

  /** Sends a call; its answer is in `answers` once the clock has moved far enough. */
  send(path: string, options: AskOptions): void {
    this.#sent++;
    ask(this.gateway.url + path, { ...options, agent: this.#agent }).then(
      (answer) => this.answers.push(answer),
      (error: unknown) => (this.#failure = error),
    );
  }

  /** Moves the clock by `ms`, timer by timer. */
  async pass(ms: number): Promise<void> {
    const end = this.clock.now() + ms;
    for (;;) {
      await this.#quiet();
      const next = this.clock.nextAt();
      if (next === undefined || next > end) break;
      this.clock.advance(next - this.clock.now());
    }
    this.clock.advance(end - this.clock.now());
  }

  /** Moves the clock until all calls are answered; throws when that takes more than `withinMs`. */
  async finish(withinMs: number): Promise<void> {
    const end = this.clock.now() + withinMs;
    for (;;) {
      await this.#quiet();
      const missing = this.#sent - this.answers.length;
      if (missing === 0) return;
      const next = this.clock.nextAt();
      if (next === undefined || next > end) throw new Error(`${missing} calls have no answer`);
      this.clock.advance(next - this.clock.now());
    }
  }

  /**
   * Resolves when no call can move at this moment of the clock. While the clock stands still, fewer and
   * fewer calls are under way. So if as many were before and after the buckets were read, then as many
   * were when they were read.
   */
  async #quiet(): Promise<void> {
    const giveUpAt = performance.now() + PATIENCE_MS;
    for (;;) {
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
      if (this.#failure !== undefined) throw new Error('a call failed', { cause: this.#failure });
      const before = this.#underWay;
      if (before === 0) return;
      const buckets = await bucketsOf(this.gateway);
      const waiting = buckets.reduce((sum, bucket) => sum + bucket.waiting, 0);
      if (before === waiting && this.#underWay === waiting) return;
      if (performance.now() > giveUpAt) {
        const { length } = this.answers;
        const calls = `${this.#sent} sent, ${length} answered, ${this.api.delayed} at the API`;
        throw new Error(`calls neither end nor wait: ${calls}, ${JSON.stringify(buckets)}`);
      }
    }
  }

  get #underWay(): number {
    return this.#sent - this.answers.length - this.api.delayed;
  }
}
