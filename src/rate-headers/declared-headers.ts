import type { NameMeaning, Role } from './header-names.ts';

/** What one header of an API means, as settings or a preset declare it. */
export interface RateHeaderRule {
  /** The header's name, in lower case. */
  readonly header: string;
  readonly role: DeclaredRole;
  /** The bucket that the header concerns; absent: the one that its name states, or the unnamed one. */
  readonly bucket?: string;
  /** The unit of a plain number. */
  readonly unit?: DeclaredUnit;
  /** The length of the period of the limit, in milliseconds. */
  readonly periodMs?: number;
  /** The limit of the bucket, for answers that do not report it. */
  readonly limit?: number;
}

/** What a declared header says; `ignore`: nothing. */
export type DeclaredRole = keyof typeof DECLARED_ROLES | 'ignore';

const DECLARED_ROLES = {
  limit: 'limit',
  remaining: 'remaining',
  used: 'used',
  reset: 'reset',
  'retry-after': 'retryAfter',
  period: 'interval',
  'bucket-name': 'bucket',
} as const satisfies Record<string, Role>;

export type DeclaredUnit = keyof typeof DECLARED_UNITS;

const DECLARED_UNITS = {
  milliseconds: { unitMs: 1, isSinceEpoch: false },
  seconds: { unitMs: 1000, isSinceEpoch: false },
  minutes: { unitMs: 60_000, isSinceEpoch: false },
  'epoch-seconds': { unitMs: 1000, isSinceEpoch: true },
  'epoch-milliseconds': { unitMs: 1, isSinceEpoch: true },
} as const;

const NO_UNIT = { unitMs: undefined, isSinceEpoch: false } as const;

/** Finds the first rule of each header, by its name in lower case. */
export function rulesByHeader(
  rules: readonly RateHeaderRule[],
): ReadonlyMap<string, RateHeaderRule> {
  return new Map(rules.toReversed().map((rule) => [rule.header, rule]));
}

/**
 * Returns the meaning of a header that `rule` declares; `undefined` if it is to be ignored.
 *
 * A header belongs to the same budget as the other headers of its bucket. So it joins the headers that
 * its name belongs to, or those of the declared bucket: `familyOf` finds them by the bucket's name.
 * `byName` is what the header's name says without the rule.
 */
export function declaredMeaning(
  rule: RateHeaderRule,
  byName: NameMeaning | undefined,
  familyOf: (bucket: string) => string | undefined,
): NameMeaning | undefined {
  if (rule.role === 'ignore') return undefined;
  const isPlaced =
    rule.bucket === undefined && byName !== undefined && byName.role !== 'retryAfter';
  const bucket = isPlaced ? byName.bucket : (rule.bucket ?? '');
  const unit = rule.unit === undefined ? NO_UNIT : DECLARED_UNITS[rule.unit];
  return {
    role: DECLARED_ROLES[rule.role],
    family: isPlaced ? byName.family : (familyOf(bucket) ?? `declared ${bucket}`),
    bucket,
    periodMs: rule.periodMs ?? byName?.periodMs,
    statedLimit: rule.limit,
    ...unit,
    isWeak: false,
  };
}
