import { z } from 'zod';
import { DEFAULT_CLASS, type ClassRule } from '../http/classify.ts';
import { MAX_COST } from '../http/cost-rule.ts';
import type { Account, LimitRule } from '../http/limit-rule.ts';
import { durationText } from '../util/duration.ts';
import { limit as limitKind } from './values.ts';

/** How a file states limits, what requests cost in them, and which credentials share them. */

const NAME = /^[A-Za-z0-9._/-]{1,64}$/;
const NAME_EXPECTED = 'expected at most 64 of A-Z a-z 0-9 . _ / -';
export const name = z.string(NAME_EXPECTED).regex(NAME, NAME_EXPECTED);

const COST_EXPECTED = `expected a whole number from 1 to ${MAX_COST}`;
const costNumber = z.int(COST_EXPECTED).min(1, COST_EXPECTED).max(MAX_COST, COST_EXPECTED);
const POINTER_EXPECTED = 'expected a JSON pointer such as /urls';
const COUNT_EXPECTED = 'expected true, or no count';
const COST_HEADER_EXPECTED = 'expected the name of a header, such as X-Cost';
const pointer = z.string(POINTER_EXPECTED).regex(/^(?:\/[^/]+)+$/, POINTER_EXPECTED);
const bodyCost = z
  .strictObject(
    {
      body: pointer,
      count: z.literal(true, COUNT_EXPECTED).optional(),
      else: costNumber,
    },
    'expected a number, or body (a JSON pointer), count and else (a number)',
  )
  .transform(({ body, count, else: otherwise }) => ({
    body,
    ...(count === undefined ? {} : { count }),
    else: otherwise,
  }));
export const cost = z.union(
  [costNumber, bodyCost],
  'expected a whole number from 1, or body (a JSON pointer) and else (a number)',
);

/** Where an answer states what its request did cost. */
export const settleCost = z.union(
  [
    z.strictObject({
      header: z
        .string(COST_HEADER_EXPECTED)
        .regex(/^[A-Za-z0-9-]{1,64}$/, COST_HEADER_EXPECTED)
        .toLowerCase(),
    }),
    z.strictObject({ json: pointer }),
  ],
  'expected header (the name of a header of the answer) or json (a JSON pointer into its body)',
);

/** A request draws on each of them. */
const MAX_LIMITS = 8;
const MANY_EXPECTED = `expected at most ${MAX_LIMITS} limits`;

const SIZE_EXPECTED = `expected ${limitKind.expected}`;
const size = z.string(SIZE_EXPECTED).transform((text, context) => {
  const value = limitKind.parse(text);
  if (value !== undefined) return value;
  context.addIssue(SIZE_EXPECTED);
  return z.NEVER;
});
const scope = z.enum(
  ['credential', 'account', 'api'],
  'expected credential, account or api: whose operations count',
);

const classLimit = z.union(
  [
    size.transform((value): LimitRule => value),
    z
      .strictObject(
        {
          name: name.optional(),
          limit: size,
          scope: scope.optional(),
          cost: cost.optional(),
        },
        'expected limit, name, scope and cost',
      )
      .transform(toRule),
  ],
  'expected a limit such as 200/1m, or a map of limit, name, scope and cost',
);

/** The limits of a class. Those without a name get one, except the first. */
export const classLimits = z
  .array(classLimit, 'expected a list of limits')
  .min(1, 'expected at least one limit')
  .max(MAX_LIMITS, MANY_EXPECTED)
  .superRefine((rules, context) => {
    for (const [at, rule] of rules.entries()) {
      if (rule.name !== undefined) continue;
      const like = rules.findIndex(
        (earlier) =>
          earlier.name === undefined &&
          earlier.scope === rule.scope &&
          earlier.periodMs === rule.periodMs,
      );
      if (like === at) continue;
      const message = `expected another period or another scope than [${like}], or a name`;
      context.addIssue({ code: 'custom', path: [at], message });
    }
  })
  .transform((rules) => {
    const own = rules.findIndex((rule) => rule.name === undefined);
    return rules.map((rule, at) =>
      rule.name !== undefined || at === own ? rule : { name: nameBySize(rule), ...rule },
    );
  })
  .superRefine(reportSameNames);

/** Limits over the classes, each with a name. */
export const limitsOverClasses = z
  .array(
    z
      .strictObject(
        {
          name,
          limit: size,
          scope: scope.optional(),
          cost: cost.optional(),
          classes: z
            .array(name, 'expected a list of classes')
            .min(1, 'expected at least one class')
            .optional(),
        },
        'expected a map of name, limit, scope, cost and classes',
      )
      .transform(toRule),
    'expected a list of limits',
  )
  .max(MAX_LIMITS, MANY_EXPECTED)
  .superRefine(reportSameNames);

const HASH_EXPECTED = 'expected a hash of 16 hexadecimal digits, as bucket ids have it';
export const hash = z.string(HASH_EXPECTED).regex(/^[0-9a-f]{16}$/, HASH_EXPECTED);
const MEMBER_EXPECTED = `${HASH_EXPECTED}, or own for Headgate's token`;
const member = z.string(MEMBER_EXPECTED).regex(/^(?:[0-9a-f]{16}|own)$/, MEMBER_EXPECTED);

/** Accounts by name, each with its credentials. No credential is in two of them. */
export const accounts = z
  .record(
    z.string(),
    z
      .array(member, 'expected a list of hashes')
      .min(1, 'expected at least one hash')
      .max(1000, 'expected at most 1000 hashes'),
    'expected a map of accounts by name, each a list of hashes',
  )
  .transform((byName, context) => {
    const seen = new Map<string, string>();
    for (const [account, credentials] of Object.entries(byName)) {
      if (!NAME.test(account)) {
        context.addIssue({ code: 'custom', path: [account], message: NAME_EXPECTED });
      }
      for (const [at, credential] of credentials.entries()) {
        const other = seen.get(credential);
        seen.set(credential, account);
        if (other === undefined) continue;
        const message = `expected each hash once, and it is in the account ${other}`;
        context.addIssue({ code: 'custom', path: [account, at], message });
      }
    }
    return Object.entries(byName).map(([account, credentials]): Account => ({
      name: account,
      credentials,
    }));
  });

/**
 * Finds two rules of one class that state different limits for the same bucket: its position in
 * `rules`, that of the limit, and the rule before it.
 */
export function* contradictions(
  rules: readonly ClassRule[],
): Generator<{ readonly path: PropertyKey[]; readonly message: string }> {
  const known = new Map<string, { readonly at: number; readonly limit: LimitRule }>();
  for (const [at, rule] of rules.entries()) {
    for (const [position, limit] of (rule.limits ?? []).entries()) {
      const bucket = `${rule.name}:${limit.name ?? ''}`;
      const first = known.get(bucket) ?? { at, limit };
      known.set(bucket, first);
      if (sizeText(first.limit) === sizeText(limit)) continue;
      const message = `expected ${sizeText(first.limit)} as in classes[${first.at}], which is of the same class`;
      yield { path: [at, 'limits', position], message };
    }
  }
}

export interface LimitsSlice {
  readonly classes: readonly ClassRule[];
  readonly limits: readonly LimitRule[];
  readonly accounts: readonly Account[];
}

/** How a problem names a place in a list; `undefined` for a list that is not in a file. */
type PlaceIn = ((path: readonly PropertyKey[]) => string) | undefined;

/** Finds limits of one API that its other lists contradict. */
export function limitProblems(
  { classes, limits, accounts: known }: LimitsSlice,
  placesIn: (list: 'classes' | 'limits') => PlaceIn,
): string[] {
  const placeIn = (list: 'classes' | 'limits', path: readonly PropertyKey[]): string =>
    placesIn(list)?.(path) ?? `${list} ${path.join('.')}`;
  const names = new Set([...classes.map((rule) => rule.name), DEFAULT_CLASS]);
  const problems = limits.flatMap((limit, at) => {
    const found: string[] = [];
    if (names.has(limit.name ?? '')) {
      const place = placeIn('limits', [at, 'name']);
      found.push(`${place}: expected another name than that of a class, got "${limit.name}"`);
    }
    for (const [position, one] of (limit.classes ?? []).entries()) {
      if (names.has(one)) continue;
      const place = placeIn('limits', [at, 'classes', position]);
      found.push(`${place}: expected one of ${[...names].join(', ')}, got "${one}"`);
    }
    return found;
  });
  if (known.length > 0) return problems;
  const places = [
    ...limits.map((limit, at) => ({ limit, place: placeIn('limits', [at, 'scope']) })),
    ...classes.flatMap((rule, at) =>
      (rule.limits ?? []).map((limit, position) => ({
        limit,
        place: placeIn('classes', [at, 'limits', position, 'scope']),
      })),
    ),
  ];
  for (const { limit, place } of places) {
    if (limit.scope !== 'account') continue;
    problems.push(`${place}: expected accounts: as well, which list the credentials, got none`);
  }
  return problems;
}

/** A limit as people write it, such as `10000/1m`, or `10000/1m per credential` if it states a scope. */
export function sizeText({ limit, periodMs, scope: of }: LimitRule): string {
  const text = `${limit}/${durationText(periodMs)}`;
  return of === undefined ? text : `${text} per ${of === 'api' ? 'API' : of}`;
}

function nameBySize({ limit, periodMs, scope: of = 'credential' }: LimitRule): string {
  return `${limit}-per-${durationText(periodMs)}${of === 'credential' ? '' : `-${of}`}`;
}

interface ParsedLimit {
  readonly name?: string | undefined;
  readonly limit: z.output<typeof size>;
  readonly scope?: LimitRule['scope'] | undefined;
  readonly cost?: LimitRule['cost'] | undefined;
  readonly classes?: readonly string[] | undefined;
}

function toRule(parsed: ParsedLimit): LimitRule {
  return {
    ...(parsed.name === undefined ? {} : { name: parsed.name }),
    ...parsed.limit,
    ...(parsed.scope === undefined ? {} : { scope: parsed.scope }),
    ...(parsed.cost === undefined ? {} : { cost: parsed.cost }),
    ...(parsed.classes === undefined ? {} : { classes: parsed.classes }),
  };
}

/** Reports limits with the name of an earlier one. */
function reportSameNames(
  rules: readonly LimitRule[],
  context: { addIssue: (issue: { code: 'custom'; path: PropertyKey[]; message: string }) => void },
): void {
  for (const [at, rule] of rules.entries()) {
    if (rule.name === undefined) continue;
    const first = rules.findIndex((earlier) => earlier.name === rule.name);
    if (first === at) continue;
    const message = `expected another name than that of [${first}]`;
    context.addIssue({ code: 'custom', path: [at, 'name'], message });
  }
}
