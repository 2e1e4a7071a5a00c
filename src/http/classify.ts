import type { CostRule } from './cost-rule.ts';
import type { LimitRule } from './limit-rule.ts';

/** A rule of a classification: the first rule whose method and path match gives the class. */
export interface ClassRule {
  readonly name: string;
  /** If absent, the rule matches all methods. */
  readonly methods?: readonly string[];
  /** An exact path, or a prefix that ends in `/*`; if absent, the rule matches all paths. */
  readonly path?: string;
  /** How many operations a request costs; 1 unless given, or unless answers show another cost. */
  readonly cost?: CostRule;
  /** A header of the API's answer with the number of operations that the request did cost. */
  readonly settleCost?: { readonly header: string };
  /** The limits of the class. Without any, the class has one bucket per credential. */
  readonly limits?: readonly LimitRule[];
}

/** The class of a request that matches no rule. */
export const DEFAULT_CLASS = 'all';

const DEFAULT_RULE: ClassRule = { name: DEFAULT_CLASS };

/**
 * The rule of a request's class, a group of routes that the API meters together.
 *
 * `path` is a normalised path. Its folded form is compared: an API may fold a path too, and would
 * then execute and meter a request under another class than the gateway did.
 */
export function classify(rules: readonly ClassRule[], method: string, path: string): ClassRule {
  let folded: string | undefined;
  for (const rule of rules) {
    const { methods, path: pattern } = rule;
    if (methods !== undefined && !methods.includes(method)) continue;
    if (pattern === undefined) return rule;
    folded ??= fold(path);
    if (matches(folded, pattern)) return rule;
  }
  return DEFAULT_RULE;
}

/** The position of the first of `earlier` that matches every request that `rule` matches, if any. */
export function coveringRule(earlier: readonly ClassRule[], rule: ClassRule): number | undefined {
  const at = earlier.findIndex((other) => {
    const { methods } = rule;
    const takesMethods =
      other.methods === undefined ||
      (methods?.every((method) => other.methods?.includes(method)) ?? false);
    return takesMethods && takesPaths(other.path, rule.path);
  });
  return at === -1 ? undefined : at;
}

function takesPaths(pattern: string | undefined, other: string | undefined): boolean {
  if (pattern === undefined || pattern === '/*') return true;
  if (other === undefined) return false;
  const [wide, narrow] = [pattern.toLowerCase(), other.toLowerCase()];
  return wide === narrow || (wide.endsWith('/*') && narrow.startsWith(wide.slice(0, -1)));
}

/** The form of a pattern that requests are compared with; any other form matches none. */
export function normalPattern(pattern: string): string {
  if (pattern === '/*') return pattern;
  return pattern.endsWith('/*') ? `${fold(pattern.slice(0, -2))}/*` : fold(pattern);
}

function matches(folded: string, pattern: string): boolean {
  const lower = pattern.toLowerCase();
  return lower.endsWith('/*') ? folded.startsWith(lower.slice(0, -1)) : folded === lower;
}

/**
 * A path as the most lenient server reads it: lower case, encoded slashes and backslashes decoded,
 * without parameters of segments (`;a=1`), empty segments and a trailing slash.
 */
function fold(path: string): string {
  const slashes = path.toLowerCase().replaceAll(/%2f|%5c/g, '/');
  const plain = slashes.replaceAll(/(?:;|%3b)[^/]*/g, '').replaceAll(/\/{2,}/g, '/');
  return plain.length > 1 && plain.endsWith('/') ? plain.slice(0, -1) : plain;
}
