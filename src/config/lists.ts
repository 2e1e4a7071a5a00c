import { z } from 'zod';
import type { CallerRule } from '../queue/caller-rules.ts';
import { budgetIssues, quota, reserve } from './caller-budgets.ts';
import { METHODS } from 'node:http';
import { coveringRule, type ClassRule } from '../http/classify.ts';
import { normalPattern } from '../http/path-pattern.ts';
import type { RateHeaderRule } from '../rate-headers/declared-headers.ts';
import { parseDuration } from '../util/duration.ts';
import {
  accounts,
  classLimits,
  contradictions,
  cost,
  hash,
  limitsOverClasses,
  name,
  settleCost,
} from './limits.ts';

/** The lists that only a file can contain. Zod reports what is wrong with them, and where. */

const wait = z
  .union([z.string(), z.literal(0)], 'expected a duration such as 45s or 2m')
  .transform((value, context) => {
    const ms = parseDuration(String(value));
    if (ms !== undefined) return ms;
    context.addIssue('expected a duration such as 45s or 2m');
    return z.NEVER;
  });

const caller = z
  .strictObject(
    {
      name: name.optional(),
      userAgent: name.optional(),
      maxWait: wait.optional(),
      shedStatus: z.union([z.literal(503), z.literal(429)], 'expected 503 or 429').optional(),
      weight: z
        .number('expected a number above 0')
        .positive('expected a number above 0')
        .max(1000, 'expected at most 1000')
        .optional(),
      maxPriority: z.enum(['high', 'normal', 'low'], 'expected high, normal or low').optional(),
      quota: quota.optional(),
      reserve: reserve.optional(),
      why: z.string('expected a text').optional(),
    },
    'expected a rule of name, userAgent, maxWait, shedStatus, weight, maxPriority, quota, reserve and why',
  )
  .refine(
    (rule) => rule.name !== undefined || rule.userAgent !== undefined,
    'expected name or userAgent, which select the callers',
  )
  .transform(({ maxWait, ...rule }): CallerRule => {
    const known = Object.entries(rule).filter(([, value]) => value !== undefined);
    return {
      ...Object.fromEntries(known),
      ...(maxWait === undefined ? {} : { maxWaitMs: maxWait }),
    };
  });

const path = z
  .string('expected a path')
  .regex(/^\/[^?#]*$/, 'expected a path such as /purge/wildcard, /purge/* or /purge/**')
  .refine(
    (pattern) => !/[^/]\*\*|\*\*[^/]/.test(pattern),
    'expected ** to be a whole segment, as in /purge/**',
  )
  .superRefine((pattern, context) => {
    const normal = normalPattern(pattern);
    if (normal === pattern.toLowerCase()) return;
    context.addIssue(`expected a path in its normal form, ${normal}, because no other can match`);
  });

const METHOD = /^[A-Z]+$/;
const METHOD_EXPECTED = 'expected a method such as GET';
const classRule = z
  .strictObject(
    {
      name,
      methods: z
        .array(
          z
            .string(METHOD_EXPECTED)
            .regex(METHOD, METHOD_EXPECTED)
            // Such a request is refused before it has a class.
            .refine(
              (method) => !METHOD.test(method) || METHODS.includes(method),
              'expected a method that requests can have',
            ),
          'expected a list of methods',
        )
        .min(1, 'expected at least one method')
        .optional(),
      path: path.optional(),
      cost: cost.optional(),
      settleCost: settleCost.optional(),
      limits: classLimits.optional(),
    },
    'expected a rule of name, methods, path, cost, settleCost and limits',
  )
  .transform((rule): ClassRule => ({
    name: rule.name,
    ...(rule.methods === undefined ? {} : { methods: rule.methods }),
    ...(rule.path === undefined ? {} : { path: rule.path }),
    ...(rule.cost === undefined ? {} : { cost: rule.cost }),
    ...(rule.settleCost === undefined ? {} : { settleCost: rule.settleCost }),
    ...(rule.limits === undefined ? {} : { limits: rule.limits }),
  }));

const HEADER_EXPECTED = 'expected the name of a header, such as X-RateLimit-Reset';
const UNITS = [
  'seconds',
  'milliseconds',
  'minutes',
  'epoch-seconds',
  'epoch-milliseconds',
] as const;
const PERIOD_EXPECTED = 'expected a duration such as 60s or 15m, at least 1ms';
const COUNT_EXPECTED = 'expected a whole number from 1 to 1000000000';

/** `a, b or c`. */
function orList(words: readonly string[]): string {
  return `${words.slice(0, -1).join(', ')} or ${words.at(-1) ?? ''}`;
}

/** The roles that may have each of the other fields. */
const ROLES_WITH = {
  unit: ['reset', 'retry-after', 'period'],
  period: ['limit', 'remaining', 'used'],
  limit: ['remaining', 'used'],
  bucket: ['limit', 'remaining', 'used', 'reset', 'period', 'bucket-name'],
} as const satisfies Record<string, readonly RateHeaderRule['role'][]>;

const rateHeader = z
  .strictObject(
    {
      header: z
        .string(HEADER_EXPECTED)
        .regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$/, HEADER_EXPECTED)
        .transform((value) => value.toLowerCase()),
      role: z.enum(
        ['limit', 'remaining', 'used', 'reset', 'retry-after', 'period', 'bucket-name', 'ignore'],
        'expected limit, remaining, used, reset, retry-after, period, bucket-name or ignore',
      ),
      bucket: name.optional(),
      unit: z.enum(UNITS, `expected ${orList(UNITS)}`).optional(),
      period: z
        .string(PERIOD_EXPECTED)
        .transform((value, context) => {
          const ms = parseDuration(value);
          if (ms !== undefined && ms >= 1) return ms;
          context.addIssue(PERIOD_EXPECTED);
          return z.NEVER;
        })
        .optional(),
      limit: z
        .int(COUNT_EXPECTED)
        .min(1, COUNT_EXPECTED)
        .max(1_000_000_000, COUNT_EXPECTED)
        .optional(),
    },
    'expected a rule of header, role, bucket, unit, period and limit',
  )
  .superRefine((rule, context) => {
    for (const [field, roles] of Object.entries(ROLES_WITH)) {
      const value = Object.entries(rule).find(([key]) => key === field)?.[1];
      if (value === undefined || roles.some((role) => role === rule.role)) continue;
      const message = `expected it only with the role ${orList(roles)}`;
      context.addIssue({ code: 'custom', path: [field], message });
    }
    if (rule.role === 'period' && rule.unit?.startsWith('epoch-') === true) {
      const message = 'expected seconds, milliseconds or minutes for a period';
      context.addIssue({ code: 'custom', path: ['unit'], message });
    }
  })
  .transform(({ header, role, bucket, unit, period, limit }): RateHeaderRule => ({
    header,
    role,
    ...(bucket === undefined ? {} : { bucket }),
    ...(unit === undefined ? {} : { unit }),
    ...(period === undefined ? {} : { periodMs: period }),
    ...(limit === undefined ? {} : { limit }),
  }));

const rateHeaders = z
  .array(rateHeader, 'expected a list of rules')
  .max(1000, 'expected at most 1000 entries')
  .superRefine((rules, context) => {
    for (const [at, { header }] of rules.entries()) {
      const first = rules.findIndex((rule) => rule.header === header);
      if (first === at) continue;
      const message = `expected one rule for each header, and [${first}] is for the same one`;
      context.addIssue({ code: 'custom', path: [at, 'header'], message });
    }
  });
const credential = z.strictObject({ hash, name }, 'expected hash and name');

const PARAMETER_EXPECTED = 'expected the name of a query parameter, such as access_token';

export const LISTS = {
  callers: z
    .array(caller, 'expected a list of rules')
    .max(1000, 'expected at most 1000 entries')
    .superRefine((rules, context) => {
      for (const issue of budgetIssues(rules)) context.addIssue({ code: 'custom', ...issue });
    }),
  classes: z
    .array(classRule, 'expected a list of rules')
    .max(1000, 'expected at most 1000 entries')
    .superRefine((rules, context) => {
      for (const [i, rule] of rules.entries()) {
        const covering = coveringRule(rules.slice(0, i), rule);
        if (covering === undefined) continue;
        const message = `expected a rule that can match, but classes[${covering}] before it takes all its requests`;
        context.addIssue({ code: 'custom', path: [i], message });
      }
      for (const issue of contradictions(rules)) context.addIssue({ code: 'custom', ...issue });
    }),
  limits: limitsOverClasses,
  accounts,
  credentials: z
    .array(credential, 'expected a list of hash and name')
    .max(1000, 'expected at most 1000 entries'),
  pathMasks: z
    .array(
      z.string('expected a path').regex(/^\/[^?#]*$/, 'expected a path such as /tokens/*'),
      'expected a list of paths',
    )
    .max(1000, 'expected at most 1000 entries'),
  queryMasks: z
    .array(
      z
        .string('expected a name')
        .regex(/^[\x21\x22\x24\x25\x27-\x3a\x3c\x3e-\x7e]{1,256}$/, PARAMETER_EXPECTED),
      'expected a list of names',
    )
    .max(1000, 'expected at most 1000 entries'),
  rateHeaders,
} as const;

export type ListKey = keyof typeof LISTS;
