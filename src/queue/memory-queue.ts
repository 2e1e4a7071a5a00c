import { Heap, type HeapItem } from '../util/heap.ts';
import { LinkedList, type LinkedListItem } from '../util/linked-list.ts';
import {
  costOf,
  weightOf,
  type FairQueue,
  type Flow,
  type Owner,
  type Priority,
  type QueuedItem,
  type QueueItem,
} from './flow.ts';

/** An item of a queue in this process. The queue owns `flow` and `order`, and its flow the links. */
export interface MemoryItem<T extends MemoryItem<T>> extends QueuedItem, LinkedListItem<T> {
  /** The flow in which it waits; `undefined` while it is in no queue. */
  flow: MemoryFlow<T> | undefined;
  /** Breaks ties between items with the same time of arrival. */
  order: number;
}

interface MemoryFlow<T extends MemoryItem<T>> extends Flow, HeapItem {
  readonly owner: MemoryOwner<T>;
  readonly caller: string;
  readonly priority: Priority;
  readonly items: LinkedList<T>;
}

interface MemoryOwner<T extends MemoryItem<T>> extends Owner {
  readonly name: string;
  /** Its named flows: a few, so that reading them all takes less than a table. */
  readonly flows: MemoryFlow<T>[];
  readonly shared: Record<Priority, MemoryFlow<T> | undefined>;
}

interface Flows<T extends MemoryItem<T>> {
  readonly owners: Map<string, MemoryOwner<T>>;
  /** The flows that have items, ordered by their heads. */
  readonly active: Heap<MemoryFlow<T>>;
  /** Empty flows that have had more than their share so far, by their finish. */
  readonly idle: Heap<MemoryFlow<T>>;
}

/** The data of a fair queue in this process: the functions of fair-queue.ts order its items. */
export class MemoryQueue<T extends MemoryItem<T>> implements FairQueue<
  T,
  MemoryFlow<T>,
  MemoryOwner<T>
> {
  virtualTime = 0;
  size = 0;
  extra = 0;
  #nextOrder = 0;
  /** Created with the first item: there may be thousands of queues, most of which are empty. */
  #flows: Flows<T> | undefined;

  /** The item that goes next; it stays in the queue. */
  get head(): T | undefined {
    return this.#flows?.active.first?.items.first;
  }

  /** The first head of a flow that `isWanted`, of the first `count` heads in their order. */
  firstHead(count: number, isWanted: (item: T) => boolean): T | undefined {
    const isHeadWanted = ({ items }: MemoryFlow<T>): boolean =>
      items.first !== undefined && isWanted(items.first);
    return this.#flows?.active.find(count, isHeadWanted)?.items.first;
  }

  /**
   * The item that a full queue drops: the last one of the longest flow. Of flows with the same
   * length, the last one by name.
   */
  get last(): T | undefined {
    let longest: MemoryFlow<T> | undefined;
    for (const flow of this.#flows?.active.items ?? []) {
      if (longest === undefined || isLonger(flow, longest)) longest = flow;
    }
    return longest?.items.last;
  }

  /** The number of flows kept: those with items, and empty ones that are ahead of their share. */
  get flows(): number {
    return this.#flows === undefined ? 0 : this.#flows.active.size + this.#flows.idle.size;
  }

  /** The number of owners kept: those of kept flows, and of names that they used last. */
  get owners(): number {
    return this.#flows?.owners.size ?? 0;
  }

  /** All items, flow by flow. */
  *items(): IterableIterator<T> {
    for (const flow of this.#flows?.active.items ?? []) yield* flow.items.all;
  }

  /** All items in the order in which they go if no other joins. */
  inOrder(): T[] {
    const all: { readonly item: T; readonly tag: number }[] = [];
    for (const flow of this.#flows?.active.items ?? []) {
      let { tag } = flow;
      for (const item of flow.items.all) {
        all.push({ item, tag });
        tag += costOf(item) / weightOf(item);
      }
    }
    all.sort((a, b) => a.tag - b.tag || (arrivedFirst(a.item, b.item) ? -1 : 1));
    return all.map(({ item }) => item);
  }

  findOwner(name: string): MemoryOwner<T> | undefined {
    return this.#flows?.owners.get(name);
  }

  makeOwner(name: string): MemoryOwner<T> {
    const shared = { high: undefined, normal: undefined, low: undefined };
    const owner: MemoryOwner<T> = { name, named: 0, known: [], flows: [], shared };
    this.#ownFlows.owners.set(name, owner);
    return owner;
  }

  dropOwner({ name, shared }: MemoryOwner<T>): void {
    this.#flows?.owners.delete(name);
    for (const flow of Object.values(shared)) if (flow !== undefined) this.removeIdle(flow);
  }

  namedFlow({ owner, caller, priority }: QueueItem): MemoryFlow<T> | undefined {
    const flows = this.#flows?.owners.get(owner)?.flows;
    if (flows === undefined) return undefined;
    for (const flow of flows) {
      if (flow.caller === caller && flow.priority === priority) return flow;
    }
    return undefined;
  }

  sharedFlow({ shared }: MemoryOwner<T>, priority: Priority): MemoryFlow<T> | undefined {
    return shared[priority];
  }

  makeNamedFlow(owner: MemoryOwner<T>, item: T, finish: number): MemoryFlow<T> {
    const flow = makeFlow(owner, item.caller, item.priority, true, finish);
    owner.flows.push(flow);
    return flow;
  }

  makeSharedFlow(owner: MemoryOwner<T>, priority: Priority): MemoryFlow<T> {
    return (owner.shared[priority] = makeFlow(owner, '', priority, false, 0));
  }

  dropFlow({ flows }: MemoryOwner<T>, flow: MemoryFlow<T>): void {
    const last = flows.pop();
    if (last !== undefined && last !== flow) flows[flows.indexOf(flow)] = last;
  }

  ownerOf({ owner }: MemoryFlow<T>): MemoryOwner<T> {
    return owner;
  }

  flowOf({ flow }: T): MemoryFlow<T> {
    if (flow === undefined) throw new Error('expected an item that waits in the queue');
    return flow;
  }

  /** The search starts at the last item, behind which nearly all belong; a retry arrived earlier. */
  insert(flow: MemoryFlow<T>, item: T): boolean {
    item.flow = flow;
    item.order = this.#nextOrder++;
    let after = flow.items.last;
    while (after !== undefined && !arrivedFirst(after, item)) after = after.previous;
    flow.items.insertAfter(after, item);
    return after === undefined;
  }

  unlink(flow: MemoryFlow<T>, item: T): boolean {
    const wasHead = flow.items.first === item;
    flow.items.delete(item);
    item.flow = undefined;
    return wasHead;
  }

  headOf({ items }: MemoryFlow<T>): T | undefined {
    return items.first;
  }

  /** Counts from the last item, as {@link insert} searches. */
  countBefore({ items, length }: MemoryFlow<T>, { arrivedAt }: QueuedItem): number {
    let count = length;
    for (let one = items.last; one !== undefined && one.arrivedAt > arrivedAt; count--) {
      one = one.previous;
    }
    return count;
  }

  activate(flow: MemoryFlow<T>): void {
    const { active } = this.#ownFlows;
    if (flow.heapIndex >= 0) active.moved(flow);
    else active.add(flow);
  }

  deactivate(flow: MemoryFlow<T>): void {
    this.#flows?.active.remove(flow);
  }

  activeUpTo(): readonly MemoryFlow<T>[] {
    return this.#flows?.active.items ?? [];
  }

  addIdle(flow: MemoryFlow<T>): void {
    if (flow.heapIndex < 0) this.#ownFlows.idle.add(flow);
  }

  moveIdle(flow: MemoryFlow<T>): void {
    this.#flows?.idle.moved(flow);
  }

  removeIdle(flow: MemoryFlow<T>): void {
    this.#flows?.idle.remove(flow);
  }

  isIdle({ length, heapIndex }: MemoryFlow<T>): boolean {
    return length === 0 && heapIndex >= 0;
  }

  takeIdle(finish: number): MemoryFlow<T> | undefined {
    const first = this.#flows?.idle.first;
    if (first === undefined || first.finish > finish) return undefined;
    this.removeIdle(first);
    return first;
  }

  idleCount(): number {
    return this.#flows?.idle.size ?? 0;
  }

  clear(): void {
    this.#flows = undefined;
  }

  get #ownFlows(): Flows<T> {
    return (this.#flows ??= {
      owners: new Map(),
      active: new Heap(goesFirst<T>),
      idle: new Heap(endsFirst<T>),
    });
  }
}

function makeFlow<T extends MemoryItem<T>>(
  owner: MemoryOwner<T>,
  caller: string,
  priority: Priority,
  named: boolean,
  finish: number,
): MemoryFlow<T> {
  return {
    owner,
    caller,
    priority,
    named,
    tag: finish,
    weight: 1,
    finish,
    length: 0,
    extra: 0,
    items: new LinkedList(),
    heapIndex: -1,
  };
}

/** Whether the head of `a` leaves the queue before the head of `b`. */
function goesFirst<T extends MemoryItem<T>>(a: MemoryFlow<T>, b: MemoryFlow<T>): boolean {
  if (a.tag !== b.tag) return a.tag < b.tag;
  const { first } = a.items;
  const other = b.items.first;
  return first !== undefined && other !== undefined && arrivedFirst(first, other);
}

function arrivedFirst<T extends MemoryItem<T>>(a: T, b: T): boolean {
  return a.arrivedAt === b.arrivedAt ? a.order < b.order : a.arrivedAt < b.arrivedAt;
}

function endsFirst<T extends MemoryItem<T>>(a: MemoryFlow<T>, b: MemoryFlow<T>): boolean {
  return a.finish < b.finish;
}

function isLonger<T extends MemoryItem<T>>(a: MemoryFlow<T>, b: MemoryFlow<T>): boolean {
  if (a.length !== b.length) return a.length > b.length;
  return a.owner.name === b.owner.name ? nameOf(a) > nameOf(b) : a.owner.name > b.owner.name;
}

function nameOf<T extends MemoryItem<T>>({ named, priority, caller }: MemoryFlow<T>): string {
  return named ? `${priority} ${caller}` : `*${priority}`;
}
