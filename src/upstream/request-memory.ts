import { Heap, type HeapItem } from '../util/heap.ts';
import { LinkedList, type LinkedListItem } from '../util/linked-list.ts';

/** The request whose memory is counted. */
export interface ReservationHolder {
  /** Refuses the request. Its bytes have been released before. */
  evict(): void;
}

/** The memory that one waiting request takes: its headers and its body. */
export interface MemoryReservation {
  /** Adds bytes that have been kept; may evict this request or others. */
  grow(bytes: number): void;
  /** While it is pinned, the request is not evicted: an attempt sends it to the API. */
  pin(isPinned: boolean): void;
  /** Releases all bytes. Does nothing the second time. */
  release(): void;
}

/** The requests of one flow, in the order of their first bytes. */
interface Flow extends HeapItem {
  readonly owner: Owner;
  readonly requests: LinkedList<Reservation>;
  bytes: number;
  /** How many of `requests` are not pinned. */
  evictable: number;
}

interface Owner extends HeapItem {
  readonly byName: Map<string, Flow>;
  /** The flows that have an evictable request. */
  readonly flows: Heap<Flow>;
  bytes: number;
}

function byBytes(a: { readonly bytes: number }, b: { readonly bytes: number }): boolean {
  return a.bytes > b.bytes;
}

/**
 * Flows without a request are kept up to this number or half of all flows, and then removed
 * together. A Map in which each request added and removed an entry would keep much garbage alive
 * (docs/decisions/0009).
 */
const MAX_EMPTY = 1000;

/**
 * Bounds the total bytes of all requests that wait. Beyond the limit it evicts the last request of
 * the largest flow of the largest owner, and repeats this until the requests fit.
 *
 * Size is measured in bytes and not in tickets, because bytes are what is short: a thousand small
 * requests must not pay for the large ones of one caller. The largest owner is chosen before its
 * largest flow, so that a caller gains nothing by giving each of its calls another name. Every
 * operation takes O(log n), because an attacker decides how many owners and flows there are.
 */
export class RequestMemory {
  readonly #limitBytes: number;
  readonly #byName = new Map<string, Owner>();
  /** The owners that have an evictable request. */
  readonly #owners = new Heap<Owner>(byBytes);
  #bytes = 0;
  /** How many flows are known, and how many of them have no request. */
  #flows = 0;
  #empty = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** Bytes of all requests that wait now. */
  get bytes(): number {
    return this.#bytes;
  }

  /** How many flows are known, with those that have no request any more. */
  get flows(): number {
    return this.#flows;
  }

  /**
   * Starts a reservation of no bytes. `owner` is the party that the queue is fair to; `flow` is one
   * of its callers at one priority.
   */
  reserve(owner: string, flow: string, holder: ReservationHolder): MemoryReservation {
    const reserved = new Reservation(this, this.#flowOf(owner, flow), holder);
    const { requests } = reserved.flow;
    if (requests.size === 0) this.#empty--;
    requests.add(reserved);
    this.countEvictable(reserved.flow, 1);
    return reserved;
  }

  /** Called by a reservation: its request takes `bytes` more. */
  add(reserved: Reservation, bytes: number): void {
    reserved.bytes += bytes;
    this.#resize(reserved.flow, bytes);
    while (this.#bytes > this.#limitBytes && this.#evictOne());
  }

  /** Called by a reservation: its request takes no memory any more. */
  remove(reserved: Reservation): void {
    const { flow, bytes, isPinned } = reserved;
    flow.requests.delete(reserved);
    if (!isPinned) this.countEvictable(flow, -1);
    this.#resize(flow, -bytes);
    if (flow.requests.size > 0) return;
    this.#empty++;
    if (this.#empty > Math.max(MAX_EMPTY, this.#flows / 2)) this.#removeEmpty();
  }

  /** Called by a reservation: a flow has `by` more requests that can be evicted. */
  countEvictable(flow: Flow, by: 1 | -1): void {
    const { owner } = flow;
    flow.evictable += by;
    if (by === 1 && flow.evictable === 1) {
      owner.flows.add(flow);
      if (owner.flows.size === 1) this.#owners.add(owner);
    } else if (flow.evictable === 0) {
      owner.flows.remove(flow);
      if (owner.flows.size === 0) this.#owners.remove(owner);
    }
  }

  #resize(flow: Flow, bytes: number): void {
    const { owner } = flow;
    flow.bytes += bytes;
    owner.bytes += bytes;
    this.#bytes += bytes;
    owner.flows.moved(flow);
    this.#owners.moved(owner);
  }

  #flowOf(ownerName: string, flowName: string): Flow {
    let owner = this.#byName.get(ownerName);
    if (owner === undefined) {
      owner = { byName: new Map(), flows: new Heap<Flow>(byBytes), bytes: 0, heapIndex: -1 };
      this.#byName.set(ownerName, owner);
    }
    let flow = owner.byName.get(flowName);
    if (flow === undefined) {
      flow = { owner, requests: new LinkedList(), bytes: 0, evictable: 0, heapIndex: -1 };
      owner.byName.set(flowName, flow);
      this.#flows++;
      this.#empty++;
    }
    return flow;
  }

  #removeEmpty(): void {
    for (const [ownerName, owner] of this.#byName) {
      for (const [flowName, flow] of owner.byName) {
        if (flow.requests.size === 0) owner.byName.delete(flowName);
      }
      if (owner.byName.size === 0) this.#byName.delete(ownerName);
    }
    this.#flows -= this.#empty;
    this.#empty = 0;
  }

  /** Evicts one request, and returns whether there was one. */
  #evictOne(): boolean {
    let last = this.#owners.first?.flows.first?.requests.last;
    // Few are skipped: at most as many are being sent as there are sockets to the API.
    while (last?.isPinned === true) last = last.previous;
    if (last === undefined) return false;
    last.release();
    last.holder.evict();
    return true;
  }
}

class Reservation implements MemoryReservation, LinkedListItem<Reservation> {
  readonly flow: Flow;
  readonly holder: ReservationHolder;
  bytes = 0;
  isPinned = false;
  /** The linked list that holds the reservation owns these three. */
  isLinked = false;
  previous: Reservation | undefined;
  next: Reservation | undefined;
  readonly #memory: RequestMemory;
  #isReleased = false;

  constructor(memory: RequestMemory, flow: Flow, holder: ReservationHolder) {
    this.#memory = memory;
    this.flow = flow;
    this.holder = holder;
  }

  grow(bytes: number): void {
    if (!this.#isReleased) this.#memory.add(this, bytes);
  }

  pin(isPinned: boolean): void {
    if (this.#isReleased || this.isPinned === isPinned) return;
    this.isPinned = isPinned;
    this.#memory.countEvictable(this.flow, isPinned ? -1 : 1);
  }

  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#memory.remove(this);
  }
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
