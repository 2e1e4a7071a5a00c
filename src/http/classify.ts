import type { CostRule, SettledCost } from './cost-rule.ts';
import type { LimitRule } from './limit-rule.ts';
import { coversPattern, EVERY_PATH, foldPath, makePathPattern } from './path-pattern.ts';

/** A rule of a classification: the first rule whose method and path match gives the class. */
export interface ClassRule {
  readonly name: string;
  /** If absent, the rule matches all methods. */
  readonly methods?: readonly string[];
  /** A pattern of paths (path-pattern.ts); if absent, the rule matches all paths. */
  readonly path?: string;
  /** How many operations a request costs; 1 unless given, or unless answers show another cost. */
  readonly cost?: CostRule;
  /** Where the API's answer states the number of operations that the request did cost. */
  readonly settleCost?: SettledCost;
  /** The limits of the class. Without any, the class has one bucket per credential. */
  readonly limits?: readonly LimitRule[];
}

/** The JSON pointer to what a call did cost, if the body of its answer is configured to state it. */
export function costPointer({ settleCost }: ClassRule): string | undefined {
  return settleCost === undefined || !('json' in settleCost) ? undefined : settleCost.json;
}

/** The class of a request that matches no rule. */
export const DEFAULT_CLASS = 'all';

const DEFAULT_RULE: ClassRule = { name: DEFAULT_CLASS };

/**
 * Returns the rule of a request's class, a group of routes that the API meters together.
 *
 * `path` is a normalised path. Its folded form is compared: an API may fold a path too, and would
 * then execute and meter a request under another class than the gateway did.
 */
export type Classify = (method: string, path: string) => ClassRule;

/** The patterns are read once, so that a request only compares its path. */
export function makeClassify(rules: readonly ClassRule[]): Classify {
  const read = rules.map((rule) => ({
    rule,
    methods: rule.methods,
    matches: rule.path === undefined ? undefined : makePathPattern(rule.path),
  }));
  return function classify(method, path) {
    let folded: string | undefined;
    for (const { rule, methods, matches } of read) {
      if (methods !== undefined && !methods.includes(method)) continue;
      if (matches === undefined) return rule;
      folded ??= foldPath(path);
      if (matches(folded)) return rule;
    }
    return DEFAULT_RULE;
  };
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

function takesPaths(wide: string | undefined, narrow: string | undefined): boolean {
  return wide === undefined || coversPattern(wide, narrow ?? EVERY_PATH);
}
