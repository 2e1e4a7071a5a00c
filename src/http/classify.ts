/** One rule of a classification: the first whose method and path fit names the class. */
export interface ClassRule {
  readonly name: string;
  /** Absent: any method. */
  readonly methods?: readonly string[];
  /** An exact path, or a prefix that ends in `/*`; absent: any path. */
  readonly path?: string;
}

/** The class of what no rule names. */
export const DEFAULT_CLASS = 'all';

/**
 * Names the class of a request: the group of routes that the API meters together.
 *
 * `path` is normalised. Case, a trailing slash and empty segments make no difference: an API that
 * is lenient about them would otherwise meter a request under a class that we did not.
 */
export function classify(rules: readonly ClassRule[], method: string, path: string): string {
  let folded: string | undefined;
  for (const { name, methods, path: pattern } of rules) {
    if (methods !== undefined && !methods.includes(method)) continue;
    if (pattern === undefined) return name;
    folded ??= fold(path);
    if (fits(folded, pattern)) return name;
  }
  return DEFAULT_CLASS;
}

function fits(folded: string, pattern: string): boolean {
  const wanted = pattern.toLowerCase();
  return wanted.endsWith('/*') ? folded.startsWith(wanted.slice(0, -1)) : folded === wanted;
}

function fold(path: string): string {
  const single = path.toLowerCase().replaceAll(/\/{2,}/g, '/');
  return single.length > 1 && single.endsWith('/') ? single.slice(0, -1) : single;
}
