import type { HeapItem } from '../util/heap.ts';
import type { Priority, Turn } from './turn.ts';

/** One owner's named flows; what it names beyond them shares one more at each priority. */
export const NAMED_FLOWS_PER_OWNER = 13;

/** What waits in a fair queue, which writes each ticket's place into it, to find it again. */
export interface Queued<T extends Turn> extends Turn {
  /** Owned by the queue; `undefined` while the ticket is in none. */
  place: Node<T> | undefined;
}

/** A ticket's place in its flow. */
export interface Node<T extends Turn> {
  readonly ticket: T;
  readonly paid: boolean;
  readonly flow: Flow<T>;
  /** Breaks ties between tickets that arrived in the same instant. */
  readonly order: number;
  previous: Node<T> | undefined;
  next: Node<T> | undefined;
}

/** One caller's tickets at one priority, in the order of their arrival. */
export interface Flow<T extends Turn> extends HeapItem {
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

/** Whose flows they are: the names in use, and those that were. */
export class Owner<T extends Turn> {
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

export function makeFlow<T extends Turn>(owner: Owner<T>, name: string, finish: number): Flow<T> {
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

/** Which flow gives up its last ticket when the queue is full: of equals the last by name. */
export function isLonger<T extends Turn>(a: Flow<T>, b: Flow<T>): boolean {
  if (a.length !== b.length) return a.length > b.length;
  return a.owner.name === b.owner.name ? a.name > b.name : a.owner.name > b.owner.name;
}

/** Whether the head of `a` goes before that of `b`. */
export function headGoesFirst<T extends Turn>(a: Flow<T>, b: Flow<T>): boolean {
  if (a.tag !== b.tag) return a.tag < b.tag;
  return a.head !== undefined && b.head !== undefined && cameFirst(a.head, b.head);
}

function cameFirst<T extends Turn>(a: Node<T>, b: Node<T>): boolean {
  const apart = a.ticket.arrivedAt - b.ticket.arrivedAt;
  return apart < 0 || (apart === 0 && a.order < b.order);
}

/** Puts a node at its place: nearly always the tail, and nearer the head for one that comes back. */
export function insert<T extends Turn>(flow: Flow<T>, node: Node<T>): void {
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

/** Takes a node out, wherever it stands. */
export function unlink<T extends Turn>(node: Node<T>): void {
  const { flow, previous, next } = node;
  if (previous === undefined) flow.head = next;
  else previous.next = next;
  if (next === undefined) flow.tail = previous;
  else next.previous = previous;
  // What left must not lead to what comes after it, which it would outlive (see LinkedList).
  node.previous = undefined;
  node.next = undefined;
  flow.length--;
}
