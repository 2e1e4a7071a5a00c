import { z } from 'zod';
import type { CallerRule } from '../queue/caller-rules.ts';
import type { CallerKey } from './caller-keys.ts';
import { SETTINGS } from './settings.ts';
import { limit as limitKind } from './values.ts';

/** How a file states the quotas of callers, and for whom it can state them. */

/** Redis keeps a bucket a little longer than that. */
const MAX_PERIOD_MS = 31 * 86_400_000;
const EXPECTED = 'expected a count and a period, such as 500/1h, at most 31d';

export const quota = z.string(EXPECTED).transform((text, context) => {
  const value = limitKind.parse(text);
  if (value !== undefined && value.periodMs <= MAX_PERIOD_MS) return value;
  context.addIssue(EXPECTED);
  return z.NEVER;
});

type Issue = { readonly path: PropertyKey[]; readonly message: string };

/** Finds quotas that do not select one caller by its name, and names with two quotas. */
export function* quotaIssues(rules: readonly CallerRule[]): Generator<Issue> {
  for (const [at, { name, userAgent, quota: stated }] of rules.entries()) {
    if (stated === undefined) continue;
    if (name === undefined || userAgent !== undefined) {
      const message =
        'expected a quota only with name and without userAgent, which any client can send';
      yield { path: [at, 'quota'], message };
      continue;
    }
    const first = rules.findIndex((rule) => rule.name === name && rule.quota !== undefined);
    if (first === at) continue;
    const message = `expected one quota for each caller, and [${first}] has that of ${name}`;
    yield { path: [at, 'quota'], message };
  }
}

/** The rules of a file, or of one API in it, and how problems name a place in a list. */
interface Entries {
  readonly lists: { readonly callers?: readonly CallerRule[] };
  readonly places: ReadonlyMap<string, (path: readonly PropertyKey[]) => string>;
}

export interface CallersSlice {
  readonly callerKeys: readonly CallerKey[];
  /** HEADGATE_CALLER */
  readonly caller: string | undefined;
}

/**
 * Finds quotas of names that no setting gives to a caller: any request can claim such a name, or leave it
 * out.
 */
export function quotaProblems(
  { lists, places }: Entries,
  { callerKeys, caller }: CallersSlice,
): string[] {
  const names = new Set(callerKeys.map((key) => key.caller));
  if (names.size === 0 && caller !== undefined) names.add(caller);
  const placeIn = (at: number, field: string): string =>
    places.get('callers')?.([at, field]) ?? `callers[${at}].${field}`;
  return (lists.callers ?? []).flatMap(({ name = '', quota: stated }, at) => {
    if (stated === undefined || names.has(name)) return [];
    if (names.size === 0) {
      return [
        `${placeIn(at, 'quota')}: expected ${SETTINGS.callerKeys.variable} or ${SETTINGS.caller.variable} as well, because without them any request can claim the name ${name} or another one; got neither`,
      ];
    }
    const known = callerKeys.length > 0 ? 'a caller with a key' : SETTINGS.caller.variable;
    const shown = [...names].slice(0, MAX_SHOWN).join(', ');
    const more = names.size > MAX_SHOWN ? ' …' : '';
    return [
      `${placeIn(at, 'name')}: expected the name of ${known} (${shown}${more}) for a quota, got "${name}"`,
    ];
  });
}

/** Names in one problem. */
const MAX_SHOWN = 5;
