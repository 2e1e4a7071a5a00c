/** Pieces smaller than this are copied together. */
const SMALL = 4096;
const BLOCK = 16_384;

/**
 * Bytes that came in pieces, in about as much memory as they are. A buffer of one byte takes a few
 * hundred: a body that is sent byte by byte would take far more than it is counted for.
 */
export class Pieces {
  readonly #done: Buffer[] = [];
  /** The last one, which more is copied to. */
  #block: Buffer | undefined;
  #filled = 0;

  add(piece: Buffer): void {
    // What comes in one piece, as most does, stays in it.
    if (piece.length >= SMALL || (this.#done.length === 0 && this.#block === undefined)) {
      this.#endBlock();
      this.#done.push(piece);
      return;
    }
    if (this.#block !== undefined && this.#filled + piece.length > BLOCK) this.#endBlock();
    this.#block ??= Buffer.allocUnsafeSlow(BLOCK);
    this.#filled += piece.copy(this.#block, this.#filled);
  }

  /** All of them, in their order. */
  all(): Buffer[] {
    this.#endBlock();
    return this.#done;
  }

  #endBlock(): void {
    if (this.#block !== undefined) this.#done.push(this.#block.subarray(0, this.#filled));
    this.#block = undefined;
    this.#filled = 0;
  }
}
