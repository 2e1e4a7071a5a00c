import { z } from 'zod';
import type { CallerRule } from '../queue/caller-rules.ts';
import type { CallerKey } from './caller-keys.ts';
import { SETTINGS } from './settings.ts';
import { limit as limitKind } from './values.ts';

/** How a file states the quota and the share of a caller, and for whom it can state them. */

/** Redis keeps a bucket a little longer than that. */
const MAX_PERIOD_MS = 31 * 86_400_000;
const QUOTA_EXPECTED = 'expected a count and a period, such as 500/1h, at most 31d';
/** Of all callers together: the others must have something at the start of a window. */
const MAX_PERCENT = 90;
const RESERVE_EXPECTED = `expected a part of each limit from 1% to ${MAX_PERCENT}%, such as 20%`;

export const quota = z.string(QUOTA_EXPECTED).transform((text, context) => {
  const value = limitKind.parse(text);
  if (value !== undefined && value.periodMs <= MAX_PERIOD_MS) return value;
  context.addIssue(QUOTA_EXPECTED);
  return z.NEVER;
});

export const reserve = z.string(RESERVE_EXPECTED).transform((text, context) => {
  const percent = Number(/^(\d{1,2})%$/.exec(text)?.[1]);
  if (percent >= 1 && percent <= MAX_PERCENT) return percent / 100;
  context.addIssue(RESERVE_EXPECTED);
  return z.NEVER;
});

/** The fields that are stated for one caller by its name. */
const FIELDS = ['quota', 'reserve'] as const;

type Issue = { readonly path: PropertyKey[]; readonly message: string };

/**
 * Finds quotas and shares that do not select one caller by its name, names with two of them, and shares
 * that are too much together.
 */
export function* budgetIssues(rules: readonly CallerRule[]): Generator<Issue> {
  for (const field of FIELDS) {
    for (const [at, { name, userAgent, [field]: stated }] of rules.entries()) {
      if (stated === undefined) continue;
      if (name === undefined || userAgent !== undefined) {
        const message = `expected a ${field} only with name and without userAgent, which any client can send`;
        yield { path: [at, field], message };
        continue;
      }
      const first = rules.findIndex((rule) => rule.name === name && rule[field] !== undefined);
      if (first === at) continue;
      const message = `expected one ${field} for each caller, and [${first}] has that of ${name}`;
      yield { path: [at, field], message };
    }
  }
  const tooMuch = firstBeyondAll(rules);
  if (tooMuch === undefined) return;
  const message = `expected at most ${MAX_PERCENT}% for all callers together, and with this one they have ${tooMuch.percent}%`;
  yield { path: [tooMuch.at, 'reserve'], message };
}

/** The first rule with which the shares of all callers are too much together. */
function firstBeyondAll(
  rules: readonly CallerRule[],
): { readonly at: number; readonly percent: number } | undefined {
  const names = new Set<string>();
  let percent = 0;
  for (const [at, { name, reserve: part }] of rules.entries()) {
    // Of two rules for one name, the first applies.
    if (name === undefined || part === undefined || names.has(name)) continue;
    names.add(name);
    percent += Math.round(part * 100);
    if (percent > MAX_PERCENT) return { at, percent };
  }
  return undefined;
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
 * Finds quotas and shares of names that no setting gives to a caller: any request can claim such a name,
 * or leave it out.
 */
export function budgetProblems(
  { lists, places }: Entries,
  { callerKeys, caller }: CallersSlice,
): string[] {
  const names = new Set(callerKeys.map((key) => key.caller));
  if (names.size === 0 && caller !== undefined) names.add(caller);
  const placeIn = (at: number, field: string): string =>
    places.get('callers')?.([at, field]) ?? `callers[${at}].${field}`;
  return (lists.callers ?? []).flatMap((rule, at) => {
    const { name = '' } = rule;
    const field = FIELDS.find((stated) => rule[stated] !== undefined);
    if (field === undefined || names.has(name)) return [];
    if (names.size === 0) {
      return [
        `${placeIn(at, field)}: expected ${SETTINGS.callerKeys.variable} or ${SETTINGS.caller.variable} as well, because without them any request can claim the name ${name} or another one; got neither`,
      ];
    }
    const known = callerKeys.length > 0 ? 'a caller with a key' : SETTINGS.caller.variable;
    const shown = [...names].slice(0, MAX_SHOWN).join(', ');
    const more = names.size > MAX_SHOWN ? ' …' : '';
    return [
      `${placeIn(at, 'name')}: expected the name of ${known} (${shown}${more}) for a ${field}, got "${name}"`,
    ];
  });
}

/**
 * Finds shares of an API that are too much together with those that the file states for all APIs: the
 * rules of both apply to it.
 */
export function sumProblems(api: string, rules: readonly CallerRule[]): string[] {
  const tooMuch = firstBeyondAll(rules);
  if (tooMuch === undefined) return [];
  return [
    `apis.${api}.callers: expected reserves of at most ${MAX_PERCENT}% together with those for all APIs, got ${tooMuch.percent}%`,
  ];
}

/** Names in one problem. */
const MAX_SHOWN = 5;
