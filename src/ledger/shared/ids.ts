/**
 * What a replica calls its tickets and leases: numbers here, and `replica.number` in the shared state,
 * where all replicas' are. Numbers, because to find anything by a new string, V8 first has to make that
 * string the only one of its kind.
 */
export interface Ids {
  /** Never the same twice. */
  next(): number;
  idOf(number: number): string;
  /** NaN for an id of another replica's. */
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
