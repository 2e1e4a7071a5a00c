import { Heap, type HeapItem } from './heap.ts';

/** How urgent a call is; a weight, so nothing starves. */
export type Priority = 'high' | 'normal' | 'low';

export const PRIORITIES: readonly Priority[] = ['high', 'normal', 'low'];

const PRIORITY_WEIGHT: Readonly<Record<Priority, number>> = { high: 100, normal: 10, low: 1 };

/** One owner's named flows; what it names beyond them shares one more at each priority. */
const NAMED_FLOWS_PER_OWNER = 13;

/** What decides a ticket's place. */
export interface Turn {
  /** Who the queue is fair to in the end: a key, else an address. */
  readonly owner: string;
  readonly caller: string;
  readonly priority: Priority;
  /** The caller's share against others at the same priority. */
  readonly weight: number;
  readonly arrivedAt: number;
}

/**
 * Whose turn it is: start-time fair queueing over flows, a flow being one caller's tickets at one
 * priority.
 *
 * Only the head of a flow has a tag: the later of the virtual time and the flow's finish. The least
 * tag goes next, the virtual time follows it, and the flow's finish moves on by 1 / weight. So a
 * caller with ten thousand waiting delays another's next ticket by at most one of its own, and a
 * ticket that leaves, or comes back for another attempt, costs its flow nothing.
 *
 * A name costs nothing to invent, so a new name does not start afresh: an owner's new flows of one
 * priority start one behind the other, at the finish of a flow that they share. Naming every ticket
 * anew therefore yields what one flow yields. Each priority has its own such line: behind one low
 * name a high one would otherwise stand for a hundred of its own shares.
 *
 * (Goyal, Vin, Cheng: Start-time Fair Queueing, 1996.)
 */
export class FairQueue<T extends Turn> {
  #virtualTime = 0;
  #size = 0;
  #order = 0;
  readonly #owners = new Map<string, Owner<T>>();
  readonly #nodes = new Map<T, Node<T>>();
  /** Flows in which tickets wait, by whose head goes first. */
  readonly #active = new Heap<Flow<T>>(headGoesFirst);
  /** Flows in which none waits but which have had more than their share so far. */
  readonly #idle = new Heap<Flow<T>>((a, b) => a.finish < b.finish);

  /** How many tickets wait. */
  get size(): number {
    return this.#size;
  }

  /** How many flows are remembered, waiting or ahead of their share. */
  get flows(): number {
    return this.#active.size + this.#idle.size;
  }

  has(ticket: T): boolean {
    return this.#nodes.has(ticket);
  }

  /**
   * Puts a ticket into its flow by the time of its arrival. `paid` says that it was taken before
   * and comes back for another attempt: its turn comes at once and costs nothing more.
   */
  add(ticket: T, { paid = false } = {}): void {
    const flow = this.#flowFor(ticket);
    const node: Node<T> = {
      ticket,
      paid,
      flow,
      order: this.#order++,
      previous: undefined,
      next: undefined,
    };
    insert(flow, node);
    this.#nodes.set(ticket, node);
    this.#size++;
    if (flow.head === node) this.#headChanged(flow);
  }

  /** The ticket whose turn it is, left where it is. */
  get head(): T | undefined {
    return this.#active.first?.head?.ticket;
  }

  /** Takes out the ticket whose turn it is, and charges its flow. */
  take(): T | undefined {
    const flow = this.#active.first;
    const node = flow?.head;
    if (flow === undefined || node === undefined) return undefined;
    this.#virtualTime = Math.max(this.#virtualTime, flow.tag);
    if (!node.paid) flow.finish = flow.tag + 1 / weightOf(node.ticket);
    this.#unlink(node);
    this.#forgetIdle();
    return node.ticket;
  }

  /** Takes a ticket out, wherever it stands, at no cost to its flow; says whether it was there. */
  remove(ticket: T): boolean {
    const node = this.#nodes.get(ticket);
    if (node === undefined) return false;
    this.#unlink(node);
    return true;
  }

  /** The last ticket of the longest flow, of several the last by name: who leaves a full queue. */
  get last(): T | undefined {
    let longest: Flow<T> | undefined;
    for (const flow of this.#active) {
      if (longest === undefined || isLonger(flow, longest)) longest = flow;
    }
    return longest?.tail?.ticket;
  }

  /** How many waiting tickets would go before `turn` if it came now. */
  ahead(turn: Turn): number {
    const own = this.#existingFlow(turn);
    const start =
      own === undefined
        ? this.#startOf(turn)
        : Math.max(this.#virtualTime, own.length > 0 ? own.tag : own.finish);
    const tag = start + (own?.length ?? 0) / weightOf(turn);
    let count = own?.length ?? 0;
    for (const flow of this.#active) {
      if (flow === own || flow.head === undefined || flow.tag > tag + EPSILON) continue;
      const sharesBefore = Math.floor((tag - flow.tag) * weightOf(flow.head.ticket) + EPSILON) + 1;
      count += Math.min(flow.length, sharesBefore);
    }
    return count;
  }

  /** Every waiting ticket, flow by flow. */
  *tickets(): IterableIterator<T> {
    for (const flow of this.#active) {
      for (let node = flow.head; node !== undefined; node = node.next) yield node.ticket;
    }
  }

  #existingFlow(turn: Turn): Flow<T> | undefined {
    const owner = this.#owners.get(turn.owner);
    if (owner === undefined) return undefined;
    const named = owner.named.get(flowName(turn));
    if (named !== undefined) return named;
    return owner.named.size >= NAMED_FLOWS_PER_OWNER ? owner.shared[turn.priority] : undefined;
  }

  /** Where a flow would start that is not remembered. A name that was here before is no new one. */
  #startOf(turn: Turn): number {
    const owner = this.#owners.get(turn.owner);
    if (owner === undefined || owner.known.has(flowName(turn))) return this.#virtualTime;
    return Math.max(this.#virtualTime, owner.shared[turn.priority].finish);
  }

  #flowFor(ticket: T): Flow<T> {
    const existing = this.#existingFlow(ticket);
    if (existing !== undefined) {
      this.#idle.remove(existing);
      return existing;
    }
    let owner = this.#owners.get(ticket.owner);
    if (owner === undefined) {
      owner = new Owner<T>(ticket.owner);
      this.#owners.set(ticket.owner, owner);
    }
    const name = flowName(ticket);
    const flow = makeFlow(owner, name, this.#startOf(ticket));
    if (!owner.recognise(name)) {
      const shared = owner.shared[ticket.priority];
      shared.finish = flow.finish + 1 / weightOf(ticket);
      this.#idle.moved(shared);
    }
    owner.named.set(name, flow);
    return flow;
  }

  #headChanged(flow: Flow<T>): void {
    const { head } = flow;
    if (head === undefined) {
      this.#active.remove(flow);
      return;
    }
    flow.tag = head.paid ? this.#virtualTime : Math.max(this.#virtualTime, flow.finish);
    if (flow.heapIndex >= 0) this.#active.moved(flow);
    else this.#active.add(flow);
  }

  #unlink(node: Node<T>): void {
    const { flow, previous, next } = node;
    const wasHead = flow.head === node;
    if (previous === undefined) flow.head = next;
    else previous.next = next;
    if (next === undefined) flow.tail = previous;
    else next.previous = previous;
    flow.length--;
    this.#nodes.delete(node.ticket);
    this.#size--;
    if (wasHead) this.#headChanged(flow);
    if (flow.length === 0) this.#rest(flow);
  }

  /** An empty flow is remembered only while it is ahead of its share. */
  #rest(flow: Flow<T>): void {
    if (this.#size === 0) {
      // Nobody waits, so nobody can be ahead of anybody.
      this.#idle.clear();
      this.#owners.clear();
    } else if (flow.finish > this.#virtualTime) {
      this.#idle.add(flow);
      // Each is dropped for good, an owner's shared one after its last named one.
      while (this.#idle.size > MAX_IDLE_FLOWS) this.#forget(this.#idle.take());
    } else {
      this.#forget(flow);
    }
  }

  #forgetIdle(): void {
    for (;;) {
      const first = this.#idle.first;
      if (first === undefined || first.finish > this.#virtualTime) break;
      this.#idle.remove(first);
      this.#forget(first);
    }
  }

  #forget(flow: Flow<T> | undefined): void {
    if (flow === undefined) return;
    const { owner } = flow;
    if (owner.named.get(flow.name) === flow) owner.named.delete(flow.name);
    if (owner.named.size > 0) return;
    let ahead = false;
    for (const shared of Object.values(owner.shared)) {
      const dropped = shared === flow || shared.finish <= this.#virtualTime;
      if (shared.length === 0 && dropped) continue;
      ahead = true;
      if (shared.length === 0 && shared.heapIndex < 0) this.#idle.add(shared);
    }
    if (!ahead && this.#owners.get(owner.name) === owner) this.#owners.delete(owner.name);
  }
}

interface Node<T extends Turn> {
  readonly ticket: T;
  readonly paid: boolean;
  readonly flow: Flow<T>;
  /** Breaks ties between tickets that arrived in the same instant. */
  readonly order: number;
  previous: Node<T> | undefined;
  next: Node<T> | undefined;
}

interface Flow<T extends Turn> extends HeapItem {
  readonly owner: Owner<T>;
  readonly name: string;
  /** The head's place in virtual time; meaningless while none waits. */
  tag: number;
  /** Where the flow's next head starts. */
  finish: number;
  length: number;
  head: Node<T> | undefined;
  tail: Node<T> | undefined;
}

class Owner<T extends Turn> {
  readonly name: string;
  readonly named = new Map<string, Flow<T>>();
  /** The names it used last, the longest unused first; a flow is forgotten sooner than its name. */
  readonly known = new Set<string>();
  /** For the names beyond the bound; its finish is also where the owner's next new flow starts. */
  readonly shared: Readonly<Record<Priority, Flow<T>>>;

  constructor(name: string) {
    this.name = name;
    this.shared = {
      high: makeFlow(this, '*high', 0),
      normal: makeFlow(this, '*normal', 0),
      low: makeFlow(this, '*low', 0),
    };
  }

  /** Says whether the name was known; it is now. */
  recognise(name: string): boolean {
    const known = this.known.delete(name);
    this.known.add(name);
    for (const oldest of this.known) {
      if (this.known.size <= NAMED_FLOWS_PER_OWNER) break;
      this.known.delete(oldest);
    }
    return known;
  }
}

/** Tags are sums of fractions; two that differ by less are the same. */
const EPSILON = 1e-9;
const MAX_IDLE_FLOWS = 4096;

function weightOf({ priority, weight }: Turn): number {
  return PRIORITY_WEIGHT[priority] * weight;
}

function flowName({ caller, priority }: Turn): string {
  return `${priority} ${caller}`;
}

function makeFlow<T extends Turn>(owner: Owner<T>, name: string, finish: number): Flow<T> {
  return {
    owner,
    name,
    tag: finish,
    finish,
    length: 0,
    head: undefined,
    tail: undefined,
    heapIndex: -1,
  };
}

function isLonger<T extends Turn>(a: Flow<T>, b: Flow<T>): boolean {
  if (a.length !== b.length) return a.length > b.length;
  return a.owner.name === b.owner.name ? a.name > b.name : a.owner.name > b.owner.name;
}

function headGoesFirst<T extends Turn>(a: Flow<T>, b: Flow<T>): boolean {
  if (a.tag !== b.tag) return a.tag < b.tag;
  return a.head !== undefined && b.head !== undefined && cameFirst(a.head, b.head);
}

function cameFirst<T extends Turn>(a: Node<T>, b: Node<T>): boolean {
  const apart = a.ticket.arrivedAt - b.ticket.arrivedAt;
  return apart < 0 || (apart === 0 && a.order < b.order);
}

/** Nearly always at the tail; a ticket that comes back stands nearer to the head. */
function insert<T extends Turn>(flow: Flow<T>, node: Node<T>): void {
  let after = flow.tail;
  while (after !== undefined && !cameFirst(after, node)) after = after.previous;
  node.previous = after;
  node.next = after === undefined ? flow.head : after.next;
  if (node.previous === undefined) flow.head = node;
  else node.previous.next = node;
  if (node.next === undefined) flow.tail = node;
  else node.next.previous = node;
  flow.length++;
}
