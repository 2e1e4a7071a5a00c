import type { Clock } from '../util/clock.ts';
import type { CallLine } from './call-line.ts';

/** Whether the API answers, as the last calls show it; of several APIs, whether all of them do. */
export type ApiState =
  /** No call was sent to it yet. */
  | { readonly kind: 'unknown' }
  | { readonly kind: 'answers' }
  /**
   * The last `calls` calls that were sent to it got no answer, the first of them `forMs` ago. `api`:
   * the name of the API that has given none for longest, if there are several.
   */
  | {
      readonly kind: 'fails';
      readonly api?: string;
      readonly code: string;
      readonly calls: number;
      readonly forMs: number;
    };

/** The codes of calls that failed because the API gave no answer. */
const NO_ANSWER = /^upstream-/;

interface Failing {
  readonly code: string;
  readonly since: number;
  calls: number;
}

/** Follows whether each API answers. It sends nothing itself: calls show it. */
export class ApiWatch {
  readonly #clock: Pick<Clock, 'now'>;
  #answered = false;
  /** By the API's name, which is from the settings; `undefined` if there is one API. */
  readonly #failing = new Map<string | undefined, Failing>();

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock;
  }

  get state(): ApiState {
    // The one that has failed for longest is the first of the map.
    const [longest] = this.#failing;
    if (longest !== undefined) {
      const [api, { code, since, calls }] = longest;
      const forMs = Math.round(this.#clock.now() - since);
      return { kind: 'fails', ...(api === undefined ? {} : { api }), code, calls, forMs };
    }
    return this.#answered ? { kind: 'answers' } : { kind: 'unknown' };
  }

  add({
    api,
    outcome,
    code,
    attempts,
  }: Pick<CallLine, 'api' | 'outcome' | 'code' | 'attempts'>): void {
    if (outcome === 'answered') {
      this.#answered = true;
      if (this.#failing.size > 0) this.#failing.delete(api);
    } else if (attempts > 0 && outcome === 'failed' && code !== undefined && NO_ANSWER.test(code)) {
      const failing = this.#failing.get(api) ?? { code, since: this.#clock.now(), calls: 0 };
      failing.calls++;
      this.#failing.set(api, failing);
    }
  }
}
