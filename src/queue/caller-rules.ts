import type { Priority } from './turn.ts';

/** What is known of a caller, and how its calls are treated for it. */
export interface CallerRule {
  /** The caller's name; at least one of this and `userAgent` is there, and all that are must fit. */
  readonly name?: string;
  /** The User-Agent's first product, without its version. */
  readonly userAgent?: string;
  /** The longest its calls wait: for clients that give up sooner than we would. */
  readonly maxWaitMs?: number;
  /** What it gets when it is shed: 429 for clients that only understand that. */
  readonly shedStatus?: 503 | 429;
  /** Its share against other callers at the same priority. */
  readonly weight?: number;
  /** The highest priority that it may claim. */
  readonly maxPriority?: Priority;
  /** Why the rule is there, for who reads the configuration. */
  readonly why?: string;
}

/** The first rule that fits; `undefined` when none does. */
export function matchCallerRule(
  rules: readonly CallerRule[],
  caller: string,
  userAgent: string | undefined,
): CallerRule | undefined {
  return rules.find((rule) => {
    if (rule.name !== undefined && rule.name !== caller) return false;
    if (rule.userAgent !== undefined && rule.userAgent !== productOf(userAgent)) return false;
    return rule.name !== undefined || rule.userAgent !== undefined;
  });
}

/** `curl` of `curl/8.11.0 (linux)`; `undefined` when there is none. */
export function productOf(userAgent: string | undefined): string | undefined {
  const product = userAgent?.split(/[\s/(]/, 1)[0];
  return product === '' ? undefined : product;
}
