/** A route that reports another limit than its bucket has. */
interface Suspect {
  readonly template: string;
  limit: number;
  /** How many answers in a row reported it. */
  count: number;
  /** When the first of them arrived. */
  firstAt: number;
  /** Whether another route has reported the bucket's limit since then. */
  isReaffirmed: boolean;
}

/** The most routes at a time that differ from one bucket. */
const MAX_SUSPECTS = 8;
/** After this time, a route has to differ again. */
const MAX_AGE_MS = 600_000;
/** How many answers in a row have to report the other limit. */
const ENOUGH = 3;

/** What it means that an answer reports its limit. */
export type LimitFinding =
  /** It is the bucket's limit. */
  | 'same'
  /** It is another one, and it is not known yet what that means. */
  | 'undecided'
  /** The route has a limit of its own. */
  | 'split'
  /** The API has changed the limit. */
  | 'changed';

/**
 * Finds out what it means that an answer reports another limit than the bucket's. Either the API has
 * changed the limit, or the route has another counter. There is one for each bucket, because
 * credentials may have different limits.
 *
 * The route has another counter if it reports the other limit several times in a row, while another
 * route still reports the bucket's. If no other route does, the limit has changed. Answers overlap, so
 * only a request that was granted after the first different answer is evidence. A route that
 * contradicts itself needs twice as many answers next time: an API behind a balancer may have servers
 * with different settings.
 */
export class LimitEvidence {
  #limit: number;
  /** The route that last reported the limit before some route reported another one. */
  #witness = '';
  /** What the limit was before it changed, and the route that reported it then. */
  #former: { readonly limit: number; readonly witness: string } | undefined;
  #suspects: Suspect[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  get limit(): number {
    return this.#limit;
  }

  /** Whether an answer with the bucket's limit changes nothing, so that it need not be added. */
  get isQuiet(): boolean {
    return this.#suspects.length === 0;
  }

  /**
   * Adds an answer. `lastTemplate` returns the route of the last answer with the bucket's limit, and
   * `doubts` is how often the route contradicted itself.
   */
  add(
    { template, limit, grantedAt, receivedAt }: LimitReport,
    lastTemplate: () => string,
    doubts: number,
  ): { readonly finding: LimitFinding; readonly isContradiction: boolean } {
    if (limit === this.#limit) {
      const isContradiction = this.#reaffirm(template, grantedAt, receivedAt);
      return { finding: 'same', isContradiction };
    }
    if (this.#suspects.length === 0) this.#witness = lastTemplate();
    let suspect = this.#suspects.find((one) => one.template === template);
    let isContradiction = false;
    if (suspect === undefined) {
      if (this.#suspects.length >= MAX_SUSPECTS) this.#suspects.shift();
      suspect = { template, limit, count: 0, firstAt: receivedAt, isReaffirmed: false };
      this.#suspects.push(suspect);
    } else if (suspect.limit !== limit) {
      isContradiction = true;
      Object.assign(suspect, { limit, count: 0, firstAt: receivedAt, isReaffirmed: false });
    }
    suspect.count++;
    // The limit seemed to change, but the route that had reported the former one still does.
    const { limit: formerLimit, witness } = this.#former ?? {};
    const isReaffirmed = suspect.isReaffirmed || (formerLimit === limit && witness === template);
    if (suspect.count < ENOUGH * 2 ** doubts) return { finding: 'undecided', isContradiction };
    if (isReaffirmed) {
      this.#suspects = this.#suspects.filter((one) => one !== suspect);
      return { finding: 'split', isContradiction };
    }
    this.#former = { limit: this.#limit, witness: this.#witness };
    this.#limit = limit;
    this.#suspects = [];
    return { finding: 'changed', isContradiction };
  }

  /** Another route, or the same, reports the bucket's limit. Returns whether that is the same. */
  #reaffirm(template: string, grantedAt: number, receivedAt: number): boolean {
    const isContradiction = this.#suspects.some((one) => one.template === template);
    this.#suspects = this.#suspects.filter(
      (one) => one.template !== template && receivedAt - one.firstAt < MAX_AGE_MS,
    );
    for (const suspect of this.#suspects) {
      if (grantedAt > suspect.firstAt) suspect.isReaffirmed = true;
    }
    return isContradiction;
  }
}

/** What one answer reports. */
export interface LimitReport {
  readonly template: string;
  readonly limit: number;
  readonly grantedAt: number;
  readonly receivedAt: number;
}
