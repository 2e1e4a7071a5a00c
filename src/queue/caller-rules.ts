import type { Priority } from './flow.ts';

/** Which calls a rule applies to, and how they are treated. */
export interface CallerRule {
  /** The caller's name. A rule has this, `userAgent` or both; all that it has must match. */
  readonly name?: string;
  /** The first product of the User-Agent: `curl`, or with the beginning of its version, `curl/8.1`. */
  readonly userAgent?: string;
  /** The longest that its calls wait: for clients with a timeout shorter than the gateway's. */
  readonly maxWaitMs?: number;
  /** The status of a shed call: 429 for clients that understand only that. */
  readonly shedStatus?: 503 | 429;
  /** Its share relative to other callers at the same priority. */
  readonly weight?: number;
  /** The highest priority that it may claim. */
  readonly maxPriority?: Priority;
  /**
   * How many operations the caller of this name may spend, whichever rule applies to the call. Such a
   * rule has a `name` and no `userAgent`.
   */
  readonly quota?: { readonly limit: number; readonly periodMs: number };
  /**
   * Which part of every limit is kept for the caller of this name, whichever rule applies to the call:
   * above 0, and at most 0.9. Such a rule has a `name` and no `userAgent`.
   */
  readonly reserve?: number;
  /** Why the rule exists, for readers of the configuration. */
  readonly why?: string;
}

/** The parts of each limit that are kept for single callers. */
export interface StatedShares {
  /** By the caller's name: at most 90, because each part is at least 0.01. */
  readonly parts: ReadonlyMap<string, number>;
  /** The sum of all parts, at most 0.9. */
  readonly total: number;
}

/** The shares that rules state; `undefined` for none. Of two rules for one name, the first applies. */
export function statedShares(rules: readonly CallerRule[]): StatedShares | undefined {
  const parts = new Map<string, number>();
  let total = 0;
  for (const { name, reserve } of rules) {
    if (name === undefined || reserve === undefined || parts.has(name)) continue;
    parts.set(name, reserve);
    total += reserve;
  }
  return parts.size === 0 ? undefined : { parts, total };
}

/**
 * Whether a rule says how calls are treated. One that only states a quota or a share does not, and
 * leaves that to the rules after it.
 */
export function treatsCalls(rule: CallerRule): boolean {
  const { quota, reserve, maxWaitMs, shedStatus, weight, maxPriority } = rule;
  if (quota === undefined && reserve === undefined) return true;
  return (maxWaitMs ?? shedStatus ?? weight ?? maxPriority) !== undefined;
}

/** The first rule that matches; `undefined` when none does. */
export function matchCallerRule(
  rules: readonly CallerRule[],
  caller: string,
  userAgent: string | undefined,
): CallerRule | undefined {
  if (rules.length === 0) return undefined;
  const product = productWithVersion(userAgent);
  return rules.find((rule) => {
    if (rule.name !== undefined && rule.name !== caller) return false;
    if (rule.userAgent !== undefined && !isProduct(product, rule.userAgent)) return false;
    return rule.name !== undefined || rule.userAgent !== undefined;
  });
}

/** The first product of a User-Agent with its version: `curl/8.11.0` for `curl/8.11.0 (linux)`. */
function productWithVersion(userAgent = ''): string {
  return userAgent.split(/[\s(]/, 1)[0] ?? '';
}

/** Whether `product` is `wanted`, which may have no version, or only the first parts of one. */
function isProduct(product: string, wanted: string): boolean {
  if (!product.startsWith(wanted)) return false;
  const following = product.charAt(wanted.length);
  return following === '' || following === (wanted.includes('/') ? '.' : '/');
}

/** The first product of a User-Agent: `curl` for `curl/8.11.0 (linux)`, `undefined` for none. */
export function productOf(userAgent: string | undefined): string | undefined {
  const product = userAgent?.split(/[\s/(]/, 1)[0];
  return product === '' ? undefined : product;
}
