/** Names whose count is 0 are kept up to this number, and then removed together. */
const MAX_ZERO = 1000;

/**
 * Counts by name, for names that are added and removed with every call. A name is not removed as
 * soon as its count is 0, because that would replace the Map's table again and again
 * (docs/decisions/0009). It keeps fewer names with a count of 0 than 1000 or half of all.
 */
export class NameCounts {
  readonly #counts = new Map<string, number>();
  #zeros = 0;

  /** How many names are kept. */
  get size(): number {
    return this.#counts.size;
  }

  /** How many names have a count above 0. */
  get nonZero(): number {
    return this.#counts.size - this.#zeros;
  }

  of(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  add(name: string): void {
    const count = this.#counts.get(name);
    if (count === 0) this.#zeros--;
    this.#counts.set(name, (count ?? 0) + 1);
  }

  /** Throws when the count of `name` is 0 already. */
  subtract(name: string): void {
    const count = this.of(name);
    if (count === 0) throw new Error(`expected a count above 0 for ${name}`);
    this.#counts.set(name, count - 1);
    if (count > 1) return;
    this.#zeros++;
    if (this.#zeros > Math.max(MAX_ZERO, this.#counts.size / 2)) this.#removeZeros();
  }

  #removeZeros(): void {
    for (const [name, count] of this.#counts) if (count === 0) this.#counts.delete(name);
    this.#zeros = 0;
  }
}
