import { parseDictionary, parseList, Token, type Parameters } from 'structured-headers';
import type { ReportedBudget } from './budget-groups.ts';
import { MAX_COUNT, readRepeated } from './header-values.ts';
import { delayOfSeconds, type Reset } from './reset-value.ts';

/**
 * The structured `RateLimit` and `RateLimit-Policy` fields of draft-ietf-httpapi-ratelimit-headers:
 * draft 11 (`"default";r=50;t=30`, `"default";q=100;w=60`), and draft 07, which many servers still
 * send (`limit=100, remaining=50, reset=30`, `100;w=60`).
 */

/** One member of `RateLimit`: what remains under one policy. */
export interface ServiceLimit {
  /** The policy's name; `undefined` in draft 07, which allows only one. */
  readonly policy: string | undefined;
  readonly limit?: number;
  readonly remaining: number;
  readonly reset?: Reset;
}

/** One member of `RateLimit-Policy`. */
export interface QuotaPolicy {
  /** `undefined` in draft 07, in which policies have no names. */
  readonly name: string | undefined;
  readonly quota: number;
  /** The length of its window, in milliseconds. */
  readonly periodMs?: number;
  /** False for quotas of bytes or of concurrent requests, which are not budgets of operations. */
  readonly countsOperations: boolean;
}

/** Enough for dozens of policies; it bounds the work on a hostile value. */
const MAX_LENGTH = 2048;
/** What follows is cut off, as in other headers: names are kept, and stored for other replicas. */
const MAX_NAME_LENGTH = 64;
const KIND_BEFORE_NAME = /"[^"]{0,64}"; ?(?=")/g;

/** Collects the structured fields of one answer, and makes budgets of them. */
export class RateLimitFields {
  #limits: readonly ServiceLimit[] | undefined;
  #policies: readonly QuotaPolicy[] = [];

  /** Adds the value of one field. Returns false if it is no such field, or doubtful. */
  add(name: string, text: string): boolean {
    if (name.endsWith('-policy')) {
      const policies = readQuotaPolicies(text) ?? readRepeated(text, readQuotaPolicies);
      this.#policies = policies ?? this.#policies;
      return policies !== undefined;
    }
    const limits = readServiceLimits(text) ?? readRepeated(text, readServiceLimits);
    this.#limits ??= limits;
    return limits !== undefined;
  }

  /** The budgets of `RateLimit`, with what `RateLimit-Policy` says of them. */
  budgets(): ReportedBudget[] {
    if (this.#limits === undefined) {
      // A single policy gives the limit, even if no header gives what remains of it.
      const [only, ...others] = this.#policies.filter((policy) => policy.countsOperations);
      return only !== undefined && others.length === 0 ? [limitOf(only)] : [];
    }
    const budgets: ReportedBudget[] = [];
    for (const { policy, limit, remaining, reset } of this.#limits) {
      const known = this.#policies.find(({ name: one }) => one !== undefined && one === policy);
      if (known?.countsOperations === false) continue;
      budgets.push({
        ...(policy === undefined ? {} : { name: policy }),
        ...(known === undefined ? {} : limitOf(known)),
        ...(limit === undefined ? {} : { limit }),
        remaining,
        ...(reset === undefined ? {} : { reset }),
      });
    }
    return budgets;
  }
}

function limitOf({ quota, periodMs }: QuotaPolicy): ReportedBudget {
  return { limit: quota, ...(periodMs === undefined ? {} : { periodMs }) };
}

/** Reads a whole `RateLimit` field; `undefined` if any of its members is doubtful. Never throws. */
export function readServiceLimits(text: string): readonly ServiceLimit[] | undefined {
  // The field is a dictionary in draft 07 and a list in later drafts; no value is both.
  if (/^[a-z]+=/.test(text)) return structured(text, readDraft07);
  return structured(text, (value) => everyMember(value, readServiceLimit));
}

/**
 * Reads a whole `RateLimit-Policy`; `undefined` if any of its members is doubtful. Never throws.
 */
export function readQuotaPolicies(text: string): readonly QuotaPolicy[] | undefined {
  // Some servers write the kind of the policy before its name, which no structured field allows.
  const named = text.replace(KIND_BEFORE_NAME, '');
  return structured(named, (value) => everyMember(value, readQuotaPolicy));
}

function readDraft07(text: string): readonly ServiceLimit[] | undefined {
  const members = parseDictionary(text);
  // The parser keeps the last of two equal names, but it is unknown which one the API meant.
  if (members.size !== text.split(',').length) return undefined;
  const limit = count(members.get('limit')?.[0]);
  const remaining = count(members.get('remaining')?.[0]);
  const reset = seconds(members.get('reset')?.[0]);
  if (limit === undefined || remaining === undefined || reset === undefined) return undefined;
  return [{ policy: undefined, limit, remaining, reset }];
}

function readServiceLimit(item: unknown, parameters: Parameters): ServiceLimit | undefined {
  const policy = name(item);
  const remaining = count(parameters.get('r'));
  if (policy === undefined || remaining === undefined) return undefined;
  if (!parameters.has('t')) return { policy, remaining };
  const reset = seconds(parameters.get('t'));
  return reset && { policy, remaining, reset };
}

function readQuotaPolicy(item: unknown, parameters: Parameters): QuotaPolicy | undefined {
  const unnamed = count(item);
  const quota = unnamed ?? count(parameters.get('q'));
  const policy = unnamed === undefined ? name(item) : undefined;
  if (quota === undefined || (unnamed === undefined && policy === undefined)) return undefined;
  const unit = parameters.get('qu') ?? 'requests';
  const window = count(parameters.get('w')) ?? 0;
  return {
    name: policy,
    quota,
    ...(window === 0 ? {} : { periodMs: window * 1000 }),
    countsOperations: unit === 'requests',
  };
}

function everyMember<T>(
  text: string,
  read: (item: unknown, parameters: Parameters) => T | undefined,
): readonly T[] | undefined {
  const members: T[] = [];
  for (const [item, parameters] of parseList(text)) {
    const member = Array.isArray(item) ? undefined : read(item, parameters);
    if (member === undefined) return undefined;
    members.push(member);
  }
  // The drafts have no empty lists.
  return members.length === 0 ? undefined : members;
}

/**
 * Calls a parser of structured fields, which throws on bad input; here bad input is `undefined`.
 */
function structured<T>(text: string, read: (text: string) => T): T | undefined {
  if (text.length > MAX_LENGTH) return undefined;
  try {
    return read(text);
  } catch {
    return undefined;
  }
}

/** A policy's name: a string, or a token, which some servers and a proposed draft use. */
function name(item: unknown): string | undefined {
  const text = item instanceof Token ? item.toString() : item;
  return typeof text === 'string' ? text.slice(0, MAX_NAME_LENGTH) : undefined;
}

function count(item: unknown): number | undefined {
  if (typeof item !== 'number' || !Number.isInteger(item) || item > MAX_COUNT) return undefined;
  return item > 0 || Object.is(item, 0) ? item : undefined;
}

function seconds(item: unknown): Reset | undefined {
  const isDelay = typeof item === 'number' && (item > 0 || Object.is(item, 0));
  return isDelay ? delayOfSeconds(item) : undefined;
}
