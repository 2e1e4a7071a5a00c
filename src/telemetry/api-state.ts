import type { Clock } from '../util/clock.ts';
import type { CallLine } from './call-line.ts';

/** Whether the API answers, as the last calls show it. */
export type ApiState =
  /** No call was sent to it yet. */
  | { readonly kind: 'unknown' }
  | { readonly kind: 'answers' }
  /** The last `calls` calls that were sent to it got no answer, the first of them `forMs` ago. */
  | {
      readonly kind: 'fails';
      readonly code: string;
      readonly calls: number;
      readonly forMs: number;
    };

/** The codes of calls that failed because the API gave no answer. */
const NO_ANSWER = /^upstream-/;

/** Follows whether the API answers. It sends nothing itself: calls show it. */
export class ApiWatch {
  readonly #clock: Pick<Clock, 'now'>;
  #answered = false;
  #failing: { readonly code: string; readonly since: number; calls: number } | undefined;

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock;
  }

  get state(): ApiState {
    if (this.#failing !== undefined) {
      const { code, since, calls } = this.#failing;
      return { kind: 'fails', code, calls, forMs: Math.round(this.#clock.now() - since) };
    }
    return this.#answered ? { kind: 'answers' } : { kind: 'unknown' };
  }

  add({ outcome, code, attempts }: Pick<CallLine, 'outcome' | 'code' | 'attempts'>): void {
    if (outcome === 'answered') {
      this.#answered = true;
      this.#failing = undefined;
    } else if (attempts > 0 && outcome === 'failed' && code !== undefined && NO_ANSWER.test(code)) {
      this.#failing ??= { code, since: this.#clock.now(), calls: 0 };
      this.#failing.calls++;
    }
  }
}
