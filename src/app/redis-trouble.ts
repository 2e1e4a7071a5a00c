import { diagnoseRedis, type RedisTarget } from '../diagnosis/redis.ts';
import type { Finding } from '../diagnosis/way.ts';
import type { Log } from '../telemetry/log.ts';
import { messageOf } from '../util/message-of.ts';

/** During an outage, Redis is diagnosed after the first failed probe and after each fourth. */
const DIAGNOSE_EVERY = 4;

/**
 * Logs why Redis cannot be used, once for each cause and outage. The client's own errors often name
 * no cause ("Stream isn't writeable").
 */
export class RedisTrouble {
  readonly #target: RedisTarget;
  readonly #log: Log;
  #everReached = false;
  #failures = 0;
  #logged = '';
  #isRefused = false;

  constructor(target: RedisTarget, log: Log) {
    this.#target = target;
    this.#log = log;
  }

  /**
   * Whether the settings of this replica are wrong: it has never reached its Redis, and Redis answered
   * it and refused it.
   */
  get isMisconfigured(): boolean {
    return !this.#everReached && this.#isRefused;
  }

  /** Redis answered this replica. */
  reached(): void {
    this.#everReached = true;
    this.#failures = 0;
    this.#logged = '';
    this.#isRefused = false;
  }

  /** Redis failed with `error`. Resolves when the cause is known, and logged if it is a new one. */
  async failed(error: unknown): Promise<void> {
    if (this.#failures++ % DIAGNOSE_EVERY !== 0) return;
    const findings: Finding[] = [];
    const usable = await diagnoseRedis(this.#target, (finding) => findings.push(finding));
    // Meanwhile it may have answered.
    if (this.#failures === 0) return;
    const causes = usable ? [] : findings.filter(({ kind }) => kind !== 'ok');
    const refusal = causes.find(({ kind }) => kind === 'refused');
    this.#isRefused = refusal !== undefined;
    const [cause] = refusal === undefined ? causes : [refusal];
    const fields =
      cause === undefined || cause.kind === 'ok'
        ? { step: 'command', reason: messageOf(error) }
        : { at: cause.at, step: cause.step, reason: cause.reason };
    const text = JSON.stringify(fields);
    if (text === this.#logged) return;
    this.#logged = text;
    this.#log.warn(fields, 'redis unusable');
  }
}
