/**
 * What a replica calls its tickets and leases: a number here, and `replica.number` in the shared
 * state, which holds all replicas' names. Numbers, because V8 has to intern each new string before
 * it can look anything up by it.
 */
export interface Ids {
  /** Never the same twice. */
  next(): number;
  idOf(number: number): string;
  /** NaN for an id of another replica. */
  numberOf(id: string): number;
}

export function makeIds(replica: string): Ids {
  const prefix = `${replica}.`;
  let last = 0;
  return {
    next: () => ++last,
    idOf: (number) => prefix + number.toString(36),
    numberOf(id) {
      return id.startsWith(prefix) ? Number.parseInt(id.slice(prefix.length), 36) : Number.NaN;
    },
  };
}
