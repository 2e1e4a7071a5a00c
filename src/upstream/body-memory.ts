/** A body that is kept in memory, and who can be told to let it go. */
export interface ReservationHolder {
  /** Who the queue is fair to. */
  readonly owner: string;
  /** One caller at one priority. */
  readonly flow: string;
  /** Whether it only waits: what is on its way to the API must keep its bytes. */
  readonly evictable: boolean;
  /** Refuses the call; its bytes are counted no more. */
  evict(): void;
}

/** What one call holds. */
export interface MemoryReservation {
  grow(bytes: number): void;
  /** Gives everything back; harmless when it was given back already. */
  release(): void;
}

interface Reserved {
  readonly holder: ReservationHolder;
  bytes: number;
  released: boolean;
}

/** What one flow holds, its calls in the order in which they came. */
interface Flow {
  bytes: number;
  readonly calls: Set<Reserved>;
}

interface Owner {
  bytes: number;
  readonly flows: Map<string, Flow>;
}

/**
 * Bounds the bytes of all bodies that are kept, together. When they are too many, the longest flow
 * pays: the last call of the flow that holds most bytes is refused, and the next, until they fit.
 *
 * Longest is meant in bytes and not in tickets, because bytes are what ran out: a thousand small
 * bodies must not pay for one caller's large ones. The owner with most bytes is looked for first and
 * its longest flow then, so that a caller gains nothing by giving each of its calls another name.
 */
export class BodyMemory {
  readonly #limitBytes: number;
  readonly #owners = new Map<string, Owner>();
  #bytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** Bytes that are kept now. */
  get bytes(): number {
    return this.#bytes;
  }

  reserve(holder: ReservationHolder): MemoryReservation {
    const reserved: Reserved = { holder, bytes: 0, released: false };
    return {
      grow: (bytes) => {
        if (reserved.released) return;
        this.#add(reserved, bytes);
        while (this.#bytes > this.#limitBytes && this.#evictOne());
      },
      release: () => this.#release(reserved),
    };
  }

  #add(reserved: Reserved, bytes: number): void {
    const { owner: ownerName, flow: flowName } = reserved.holder;
    const owner: Owner = this.#owners.get(ownerName) ?? { bytes: 0, flows: new Map() };
    const flow: Flow = owner.flows.get(flowName) ?? { bytes: 0, calls: new Set() };
    this.#owners.set(ownerName, owner);
    owner.flows.set(flowName, flow);
    flow.calls.add(reserved);
    for (const sum of [reserved, flow, owner]) sum.bytes += bytes;
    this.#bytes += bytes;
  }

  #release(reserved: Reserved): void {
    reserved.released = true;
    const { owner: ownerName, flow: flowName } = reserved.holder;
    const owner = this.#owners.get(ownerName);
    const flow = owner?.flows.get(flowName);
    if (owner === undefined || flow === undefined || !flow.calls.delete(reserved)) return;
    for (const sum of [flow, owner]) sum.bytes -= reserved.bytes;
    this.#bytes -= reserved.bytes;
    if (flow.calls.size === 0) owner.flows.delete(flowName);
    if (owner.flows.size === 0) this.#owners.delete(ownerName);
  }

  /** Says whether there was anybody to evict. */
  #evictOne(): boolean {
    const last = longest(this.#owners.values(), ({ flows }) =>
      longest(flows.values(), ({ calls }) => lastEvictable(calls)),
    );
    if (last === undefined) return false;
    this.#release(last);
    last.holder.evict();
    return true;
  }
}

/** What `pick` finds in the one that holds most bytes, among those in which it finds anything. */
function longest<T extends { readonly bytes: number }>(
  all: Iterable<T>,
  pick: (one: T) => Reserved | undefined,
): Reserved | undefined {
  let most = 0;
  let found: Reserved | undefined;
  for (const one of all) {
    const picked = one.bytes > most ? pick(one) : undefined;
    if (picked === undefined) continue;
    most = one.bytes;
    found = picked;
  }
  return found;
}

function lastEvictable(calls: Iterable<Reserved>): Reserved | undefined {
  let last: Reserved | undefined;
  for (const reserved of calls) if (reserved.holder.evictable) last = reserved;
  return last;
}

/** ChunkBuffer smaller than this are copied together. */
const SMALL_BYTES = 4096;
const BLOCK_BYTES = 16_384;

/**
 * Bytes that came in pieces, in about as much memory as they are. A buffer of one byte takes a few
 * hundred: a body that is sent byte by byte would take far more than it is counted for.
 */
export class ChunkBuffer {
  readonly #done: Buffer[] = [];
  /** The last one, which more is copied to. */
  #block: Buffer | undefined;
  #filled = 0;

  add(piece: Buffer): void {
    // What comes in one piece, as most does, stays in it.
    if (piece.length >= SMALL_BYTES || (this.#done.length === 0 && this.#block === undefined)) {
      this.#endBlock();
      this.#done.push(piece);
      return;
    }
    if (this.#block !== undefined && this.#filled + piece.length > BLOCK_BYTES) this.#endBlock();
    this.#block ??= Buffer.allocUnsafeSlow(BLOCK_BYTES);
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
