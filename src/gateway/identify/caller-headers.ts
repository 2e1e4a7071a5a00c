import { parseSecondsOrDuration } from '../../util/duration.ts';
import { MAX_COST } from '../../http/cost-rule.ts';
import { readUrgency } from '../../http/priority.ts';
import { productOf } from '../../queue/caller-rules.ts';
import { PRIORITIES, type Priority } from '../../queue/flow.ts';
import { GatewayError } from '../problem.ts';

/**
 * The request headers by which a caller states its name, and how its request is to be treated. Each
 * function throws a {@link GatewayError} for a value that is not valid.
 */

type Headers = NodeJS.Dict<string | string[]>;

const PRIORITY_NAMES: ReadonlyMap<string, Priority> = new Map(
  PRIORITIES.map((priority) => [priority, priority]),
);
const CALLER_NAME = /^[A-Za-z0-9._/-]{1,64}$/;
const MAX_SHOWN = 80;

/** The value of a header. Several lines become a list, which no Headgate-* header accepts. */
export function headerValue(headers: Headers, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
}

/** `Headgate-Caller`, else the configured name, else the User-Agent's product, else the address. */
export function readCallerName(
  headers: Headers,
  configured: string | undefined,
  userAgent: string | undefined,
  address: string,
): string {
  const stated = headerValue(headers, 'headgate-caller');
  if (stated !== undefined) {
    if (CALLER_NAME.test(stated)) return stated;
    throw badHeader('Headgate-Caller', 'at most 64 of A-Z a-z 0-9 . _ / -', stated);
  }
  if (configured !== undefined) return configured;
  const product = productOf(userAgent);
  return product !== undefined && CALLER_NAME.test(product) ? product : address;
}

/** `Headgate-Priority`, else the urgency in `Priority` (RFC 9218), else normal; at most `max`. */
export function readPriority(headers: Headers, max: Priority | undefined): Priority {
  const priority =
    statedPriority(headerValue(headers, 'headgate-priority')) ??
    readUrgency(headerValue(headers, 'priority')) ??
    'normal';
  if (max === undefined) return priority;
  return PRIORITIES.indexOf(priority) < PRIORITIES.indexOf(max) ? max : priority;
}

function statedPriority(value: string | undefined): Priority | undefined {
  if (value === undefined) return undefined;
  const priority = PRIORITY_NAMES.get(value);
  if (priority !== undefined) return priority;
  throw badHeader('Headgate-Priority', 'high, normal or low', value);
}

/** `Headgate-Max-Wait`, in milliseconds. */
export function readMaxWait(headers: Headers): number | undefined {
  const value = headerValue(headers, 'headgate-max-wait');
  if (value === undefined) return undefined;
  const waitMs = parseSecondsOrDuration(value);
  if (waitMs !== undefined) return waitMs;
  throw badHeader('Headgate-Max-Wait', 'seconds, or a duration such as 45s', value);
}

/** `Headgate-Cost`, in operations. */
export function readCost(headers: Headers): number | undefined {
  const value = headerValue(headers, 'headgate-cost');
  if (value === undefined) return undefined;
  const cost = /^\d{1,7}$/.test(value) ? Number(value) : 0;
  if (cost >= 1 && cost <= MAX_COST) return cost;
  throw badHeader('Headgate-Cost', `a whole number from 1 to ${MAX_COST}`, value);
}

function badHeader(name: string, expected: string, got: string): GatewayError {
  const shown = got.length > MAX_SHOWN ? `${got.slice(0, MAX_SHOWN)}…` : got;
  return new GatewayError(
    'bad-request',
    `${name}: expected ${expected}, got ${JSON.stringify(shown)}`,
  );
}
