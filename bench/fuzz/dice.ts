import type { Random } from '../../src/util/clock.ts';

/** Random in the shapes that a generator needs. */
export class Dice {
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  /** A whole number from 0 up to but without `below`. */
  below(below: number): number {
    return Math.floor(this.#random() * below);
  }

  /** True once in `times`. */
  oneIn(times: number): boolean {
    return this.below(times) === 0;
  }

  pick<T>(from: readonly [T, ...T[]]): T {
    return from[this.below(from.length)] ?? from[0];
  }

  /** Up to `most` of what `make` makes. */
  some<T>(most: number, make: () => T): T[] {
    return Array.from({ length: this.below(most + 1) }, make);
  }

  /** Bytes of any value, a character each. */
  noise(most: number): string {
    return this.some(most, () => String.fromCharCode(this.below(256))).join('');
  }

  /** `text` with a few of its characters changed, doubled or taken out. */
  mutate(text: string): string {
    let mutated = text;
    for (let count = this.below(4); count > 0; count--) {
      const at = this.below(mutated.length + 1);
      const instead = this.pick<string>(['', '\r', '\n', '\0', ' ', ':', '\u00e9', this.noise(3)]);
      mutated = mutated.slice(0, at) + instead + mutated.slice(at + this.below(2));
    }
    return mutated;
  }
}
