import type { BucketName, Outcome, Ticket } from '../../ledger/ledger.ts';
import type { CallerRule } from '../../queue/caller-rules.ts';
import type { AnsweredAttempt } from '../../upstream/exchange.ts';
import { UNSENT } from '../settle/bucket-outcome.ts';

/**
 * The quota of a caller as a bucket, beside those of the API. Its key is the caller's name, and it counts
 * the calls with all credentials. No answer of the API reports anything of it.
 */

/** The name that the quotas of callers have in place of a credential, and of a class. */
const QUOTA = 'quota';

/** Returns the bucket of a caller's quota; `undefined` for a caller without one. */
export type QuotaOf = (caller: string) => BucketName | undefined;

/**
 * Returns `undefined` where no caller has a quota. Of two rules for one name, the first applies. No two
 * APIs share a quota: `api` is the API's name, if there are several.
 */
export function makeQuotaOf(
  rules: readonly CallerRule[],
  api: string | undefined,
): QuotaOf | undefined {
  const prefix = api === undefined ? QUOTA : `${api}:${QUOTA}`;
  const quotas = new Map<string, BucketName>();
  for (const { name, quota } of rules) {
    if (name === undefined || quota === undefined || quotas.has(name)) continue;
    const { limit, periodMs } = quota;
    const configuredLimit = { limit, periodMs, isOwn: true } as const;
    quotas.set(name, { id: `${prefix}:${name}`, class: QUOTA, name, configuredLimit });
  }
  return quotas.size === 0 ? undefined : (caller) => quotas.get(caller);
}

/** The same request at the quota as well, where it costs `cost`; with it, the ticket takes no socket. */
export function withQuota(ticket: Ticket, quota: BucketName, cost: number | undefined): Ticket {
  const { others: _, ...request } = ticket;
  return { ...ticket, quota: { ...request, bucket: quota, cost, needsNoSocket: true } };
}

/**
 * What became of an operation of the quota whose request the API answered. `cost`: as the answer reports
 * it. A request that the API refused by a limit was not executed, and spends nothing. Any other one
 * returns to the quota a period after its answer, which lets a replica remember what it spent.
 */
export function outcomeAtQuota(
  { bucket }: Ticket,
  { response, sentAt, receivedAt }: AnsweredAttempt,
  isThrottled: boolean,
  cost: number | undefined,
): Outcome {
  if (isThrottled || bucket.configuredLimit === undefined) return UNSENT;
  const reset = {
    kind: 'delay',
    afterMs: bucket.configuredLimit.periodMs,
    resolutionMs: 0,
  } as const;
  const reading = cost === undefined ? { reset } : { reset, cost };
  const answer = { status: response.status, reading, sentAt, receivedAt };
  return { kind: 'answered', answer };
}
