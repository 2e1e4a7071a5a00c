import type { HeapItem } from '../util/heap.ts';

/** How urgent a call is. A priority is a weight, so a low one is never starved. */
export type Priority = 'high' | 'normal' | 'low';

export const PRIORITIES: readonly Priority[] = ['high', 'normal', 'low'];

const PRIORITY_WEIGHT: Readonly<Record<Priority, number>> = { high: 100, normal: 10, low: 1 };

/** One owner's named flows; the owner's further callers share one flow per priority. */
export const NAMED_FLOWS_PER_OWNER = 13;

/** What the fair queue orders items by: their flow, their weight and their time of arrival. */
export interface QueueItem {
  /** The party that the queue is fair to: the caller that the key belongs to, else the address. */
  readonly owner: string;
  readonly caller: string;
  readonly priority: Priority;
  /** The caller's share relative to other callers at the same priority. */
  readonly weight: number;
  readonly arrivedAt: number;
}

/** An item that can wait in a fair queue. The queue keeps its node here, so removal is O(1). */
export interface QueuedItem<T extends QueueItem> extends QueueItem {
  /** Owned by the queue; `undefined` while the item is in no queue. */
  queueNode: FlowNode<T> | undefined;
}

/** An item's node in the doubly linked list of its flow. */
export interface FlowNode<T extends QueueItem> {
  readonly item: T;
  /** The item was charged to its flow before: a retry, which costs nothing more. */
  readonly isPaid: boolean;
  readonly flow: Flow<T>;
  /** Breaks ties between items with the same time of arrival. */
  readonly order: number;
  previous: FlowNode<T> | undefined;
  next: FlowNode<T> | undefined;
}

/** The items of one caller at one priority, in the order of their arrival. */
export interface Flow<T extends QueueItem> extends HeapItem {
  readonly owner: Owner<T>;
  readonly name: string;
  /** The start tag of the head, in virtual time; without meaning while the flow is empty. */
  tag: number;
  /** The virtual time at which the flow's next head may start. */
  finish: number;
  length: number;
  head: FlowNode<T> | undefined;
  tail: FlowNode<T> | undefined;
}

/** The owner of flows, with the names that its flows have and had. */
export class Owner<T extends QueueItem> {
  readonly name: string;
  readonly namedFlows = new Map<string, Flow<T>>();
  /** The names used last, least recently used first. A name outlives its flow. */
  readonly knownNames = new Set<string>();
  /**
   * One flow per priority, for the names beyond the bound. Its finish is also where the owner's
   * next new flow starts.
   */
  readonly sharedFlows: Readonly<Record<Priority, Flow<T>>>;

  constructor(name: string) {
    this.name = name;
    this.sharedFlows = {
      high: makeFlow(this, '*high', 0),
      normal: makeFlow(this, '*normal', 0),
      low: makeFlow(this, '*low', 0),
    };
  }

  /** Adds `name` to the known names; returns whether it was known before. */
  rememberName(name: string): boolean {
    const wasKnown = this.knownNames.delete(name);
    this.knownNames.add(name);
    for (const oldest of this.knownNames) {
      if (this.knownNames.size <= NAMED_FLOWS_PER_OWNER) break;
      this.knownNames.delete(oldest);
    }
    return wasKnown;
  }
}

export function makeFlow<T extends QueueItem>(
  owner: Owner<T>,
  name: string,
  finish: number,
): Flow<T> {
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

/** The weight of an item: a grant moves the finish of its flow on by 1 / weight. */
export function weightOf({ priority, weight }: QueueItem): number {
  return PRIORITY_WEIGHT[priority] * weight;
}

/** Orders flows by length, then by name: a full queue drops the last item of the longest flow. */
export function isLonger<T extends QueueItem>(a: Flow<T>, b: Flow<T>): boolean {
  if (a.length !== b.length) return a.length > b.length;
  return a.owner.name === b.owner.name ? a.name > b.name : a.owner.name > b.owner.name;
}

/** Whether the head of `a` leaves the queue before the head of `b`. */
export function headGoesFirst<T extends QueueItem>(a: Flow<T>, b: Flow<T>): boolean {
  if (a.tag !== b.tag) return a.tag < b.tag;
  return a.head !== undefined && b.head !== undefined && arrivedFirst(a.head, b.head);
}

function arrivedFirst<T extends QueueItem>(a: FlowNode<T>, b: FlowNode<T>): boolean {
  const differenceMs = a.item.arrivedAt - b.item.arrivedAt;
  return differenceMs < 0 || (differenceMs === 0 && a.order < b.order);
}

/**
 * Inserts a node by its time of arrival. The search starts at the tail, where nearly all nodes
 * belong; a retry arrived earlier and belongs nearer to the head.
 */
export function insert<T extends QueueItem>(flow: Flow<T>, node: FlowNode<T>): void {
  let after = flow.tail;
  while (after !== undefined && !arrivedFirst(after, node)) after = after.previous;
  node.previous = after;
  node.next = after === undefined ? flow.head : after.next;
  if (node.previous === undefined) flow.head = node;
  else node.previous.next = node;
  if (node.next === undefined) flow.tail = node;
  else node.next.previous = node;
  flow.length++;
}

/** Removes a node from any position of its flow, in O(1). */
export function unlink<T extends QueueItem>(node: FlowNode<T>): void {
  const { flow, previous, next } = node;
  if (previous === undefined) flow.head = next;
  else previous.next = next;
  if (next === undefined) flow.tail = previous;
  else next.previous = previous;
  // A removed node must not keep later nodes reachable (docs/decisions/0009).
  node.previous = undefined;
  node.next = undefined;
  flow.length--;
}
