/** The call whose body is kept in memory. */
export interface ReservationHolder {
  /** The caller's address. */
  readonly owner: string;
  /** One caller at one priority. */
  readonly flow: string;
  /** Whether the body may be dropped: false while an attempt sends it to the API. */
  readonly evictable: boolean;
  /** Refuses the call. Its bytes have been released before. */
  evict(): void;
}

/** The memory that one call's body takes. */
export interface MemoryReservation {
  /** Adds bytes that have been kept; may evict this call or others. */
  grow(bytes: number): void;
  /** Releases all bytes. Does nothing the second time. */
  release(): void;
}

interface Reservation {
  readonly holder: ReservationHolder;
  bytes: number;
  released: boolean;
}

/** The calls of one flow, in the order of their first bytes. */
interface Flow {
  bytes: number;
  readonly calls: Set<Reservation>;
}

interface Owner {
  bytes: number;
  readonly flows: Map<string, Flow>;
}

/**
 * Bounds the total bytes of all bodies that are kept. Beyond the limit it evicts the last call of
 * the largest flow of the largest owner, and repeats this until the bodies fit.
 *
 * Size is measured in bytes and not in tickets, because bytes are what is short: a thousand small
 * bodies must not pay for the large bodies of one caller. The largest owner is chosen before its
 * largest flow, so that a caller gains nothing by giving each of its calls another name.
 */
export class BodyMemory {
  readonly #limitBytes: number;
  readonly #owners = new Map<string, Owner>();
  #bytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** Bytes of all bodies that are kept now. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Starts a reservation of no bytes. */
  reserve(holder: ReservationHolder): MemoryReservation {
    const reserved: Reservation = { holder, bytes: 0, released: false };
    return {
      grow: (bytes) => {
        if (reserved.released) return;
        this.#add(reserved, bytes);
        while (this.#bytes > this.#limitBytes && this.#evictOne());
      },
      release: () => this.#release(reserved),
    };
  }

  #add(reserved: Reservation, bytes: number): void {
    const { owner: ownerName, flow: flowName } = reserved.holder;
    const owner: Owner = this.#owners.get(ownerName) ?? { bytes: 0, flows: new Map() };
    const flow: Flow = owner.flows.get(flowName) ?? { bytes: 0, calls: new Set() };
    this.#owners.set(ownerName, owner);
    owner.flows.set(flowName, flow);
    flow.calls.add(reserved);
    for (const sum of [reserved, flow, owner]) sum.bytes += bytes;
    this.#bytes += bytes;
  }

  #release(reserved: Reservation): void {
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

  /** Evicts one call, and returns whether there was one. */
  #evictOne(): boolean {
    const last = largest(this.#owners.values(), ({ flows }) =>
      largest(flows.values(), ({ calls }) => lastEvictable(calls)),
    );
    if (last === undefined) return false;
    this.#release(last);
    last.holder.evict();
    return true;
  }
}

/** The result of `pick` for the largest of those groups for which it returns one. */
function largest<T extends { readonly bytes: number }>(
  groups: Iterable<T>,
  pick: (group: T) => Reservation | undefined,
): Reservation | undefined {
  let largestBytes = 0;
  let found: Reservation | undefined;
  for (const group of groups) {
    const picked = group.bytes > largestBytes ? pick(group) : undefined;
    if (picked === undefined) continue;
    largestBytes = group.bytes;
    found = picked;
  }
  return found;
}

function lastEvictable(calls: Iterable<Reservation>): Reservation | undefined {
  let last: Reservation | undefined;
  for (const reserved of calls) if (reserved.holder.evictable) last = reserved;
  return last;
}

/** Chunks smaller than this are copied into a block. */
const SMALL_BYTES = 4096;
const BLOCK_BYTES = 16_384;

/**
 * Keeps chunks of bytes in about as much memory as their sum. A Buffer object takes a few hundred
 * bytes, so a body that arrives byte by byte would take far more memory than is reserved for it.
 */
export class ChunkBuffer {
  readonly #complete: Buffer[] = [];
  /** The last block, to which small chunks are copied. */
  #block: Buffer | undefined;
  #filled = 0;

  add(chunk: Buffer): void {
    // A body of one chunk, the usual case, is not copied.
    if (chunk.length >= SMALL_BYTES || (this.#complete.length === 0 && this.#block === undefined)) {
      this.#endBlock();
      this.#complete.push(chunk);
      return;
    }
    if (this.#block !== undefined && this.#filled + chunk.length > BLOCK_BYTES) this.#endBlock();
    this.#block ??= Buffer.allocUnsafeSlow(BLOCK_BYTES);
    this.#filled += chunk.copy(this.#block, this.#filled);
  }

  /** All bytes, in their order. */
  all(): Buffer[] {
    this.#endBlock();
    return this.#complete;
  }

  #endBlock(): void {
    if (this.#block !== undefined) this.#complete.push(this.#block.subarray(0, this.#filled));
    this.#block = undefined;
    this.#filled = 0;
  }
}
