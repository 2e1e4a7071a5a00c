/** How many operations the requests of a class cost. */
export type CostRule = number | BodyCost;

/** A cost that the JSON body of the request states. */
export interface BodyCost {
  /** A JSON pointer (RFC 6901) to a number, or to a list whose length counts. */
  readonly body: string;
  /** Only the length of a list counts: a number at that place is not the cost. */
  readonly count?: true;
  /** The cost of a request whose body has no such value, or is too large to be kept. */
  readonly else: number;
}

/** Where the API's answer states what a request did cost. */
export type SettledCost =
  /** The lower-case name of a header. */
  | { readonly header: string }
  /** A JSON pointer (RFC 6901) to a number in the answer's body. */
  | { readonly json: string };

/** More than any API allows in one request. */
export const MAX_COST = 1_000_000;

const NUMBER = /^\d{1,7}(?:\.\d{1,15})?$/;

/**
 * Reads a cost that an answer states; `undefined` if it is none. A part of an operation counts as a
 * whole one, because no more may be spent than remains.
 */
export function readSettledCost(text: string): number | undefined {
  const cost = NUMBER.test(text) ? Math.ceil(Number(text)) : MAX_COST + 1;
  return cost <= MAX_COST ? cost : undefined;
}

/** The cost that a JSON text states by a rule; the rule's `else` when it states none. Never throws. */
export function costIn(text: string, { body, count, else: otherwise }: BodyCost): number {
  const value = valueAt(parse(text), body);
  const stated = Array.isArray(value) ? value.length : count === true ? undefined : value;
  return typeof stated === 'number' && stated >= 0 && stated <= MAX_COST
    ? Math.max(1, Math.ceil(stated))
    : otherwise;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The value at a JSON pointer (RFC 6901); `undefined` if there is none. Only own members are looked up. */
export function valueAt(root: unknown, pointer: string): unknown {
  let value = root;
  for (const part of pointer.split('/').slice(1)) {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~');
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = Reflect.get(value, key);
  }
  return value;
}
