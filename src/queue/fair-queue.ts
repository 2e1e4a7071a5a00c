import {
  type Flow,
  type FlowNode,
  headGoesFirst,
  insert,
  isLonger,
  type QueuedItem,
  type QueueItem,
  unlink,
  weightOf,
} from './flow.ts';
import { FlowsByOwner } from './flows-by-owner.ts';
import { Heap } from '../util/heap.ts';

export { PRIORITIES, type Priority, type QueuedItem, type QueueItem } from './flow.ts';

/**
 * A start-time fair queue over flows. Its items are the waiting tickets of a bucket; a flow is the
 * items of one caller at one priority.
 *
 * Only the head of a flow has a start tag: the later of the virtual time and the flow's finish. The
 * item with the least tag goes next, the virtual time becomes its tag, and the flow's finish
 * becomes tag + 1 / weight. So a caller with ten thousand items has at most one of its own served
 * before another caller's next item. An item that is removed, or added again for a retry, costs its flow
 * nothing.
 *
 * Callers choose their names, so a new name must not give an advantage: a caller with a new name
 * for every item gets what one flow gets ({@link FlowsByOwner}).
 *
 * Source: Goyal, Vin, Cheng: Start-time Fair Queueing, 1996. `queue.lua` of the shared ledger does
 * the same in Redis.
 */
export class FairQueue<T extends QueuedItem<T>> {
  #virtualTime = 0;
  #size = 0;
  #nextOrder = 0;
  /** Created with the first item: there may be thousands of queues, most of which are empty. */
  #flows: Flows<T> | undefined;

  /** The number of items in the queue. */
  get size(): number {
    return this.#size;
  }

  /** The number of flows kept: those with items, and empty ones that are ahead of their share. */
  get flows(): number {
    return this.#flows === undefined ? 0 : this.#flows.active.size + this.#flows.byOwner.idle;
  }

  /**
   * Adds an item to its flow, by its time of arrival. `paid` marks a retry: the item was taken
   * before, so as the head of its flow it goes at the current virtual time and is not charged
   * again.
   */
  add(item: T, { paid = false } = {}): void {
    const flows = (this.#flows ??= {
      active: new Heap<Flow<T>>(headGoesFirst),
      byOwner: new FlowsByOwner<T>(),
    });
    const flow = flows.byOwner.findOrCreate(item, this.#virtualTime);
    const node: FlowNode<T> = {
      item,
      isPaid: paid,
      flow,
      order: this.#nextOrder++,
      previous: undefined,
      next: undefined,
    };
    insert(flow, node);
    item.queueNode = node;
    this.#size++;
    if (flow.head === node) this.#headChanged(flow, flows);
  }

  /** The item that goes next; it stays in the queue. */
  get head(): T | undefined {
    return this.#flows?.active.first?.head?.item;
  }

  /** Removes and returns the item that goes next, and charges its flow. */
  take(): T | undefined {
    const flow = this.#flows?.active.first;
    const node = flow?.head;
    if (flow === undefined || node === undefined) return undefined;
    this.#virtualTime = Math.max(this.#virtualTime, flow.tag);
    if (!node.isPaid) flow.finish = flow.tag + 1 / weightOf(node.item);
    this.#remove(node);
    this.#flows?.byOwner.advance(this.#virtualTime);
    return node.item;
  }

  /** Removes an item from any position, at no cost to its flow; returns whether it was queued. */
  remove(item: T): boolean {
    const { queueNode } = item;
    if (queueNode === undefined) return false;
    this.#remove(queueNode);
    return true;
  }

  /**
   * The item that a full queue drops: the last one of the longest flow. Of flows with the same
   * length, the last one by name.
   */
  get last(): T | undefined {
    let longest: Flow<T> | undefined;
    for (const flow of this.#flows?.active ?? []) {
      if (longest === undefined || isLonger(flow, longest)) longest = flow;
    }
    return longest?.tail?.item;
  }

  /** The number of queued items that would go before `item` if it were added now. */
  ahead(item: QueueItem): number {
    if (this.#flows === undefined) return 0;
    const { active, byOwner } = this.#flows;
    const own = byOwner.find(item);
    const start =
      own === undefined
        ? byOwner.startOf(item, this.#virtualTime)
        : Math.max(this.#virtualTime, own.length > 0 ? own.tag : own.finish);
    const tag = start + (own?.length ?? 0) / weightOf(item);
    let count = own?.length ?? 0;
    for (const flow of active) {
      if (flow === own || flow.head === undefined || flow.tag > tag + EPSILON) continue;
      const sharesBefore = Math.floor((tag - flow.tag) * weightOf(flow.head.item) + EPSILON) + 1;
      count += Math.min(flow.length, sharesBefore);
    }
    return count;
  }

  /** All items, flow by flow. */
  *items(): IterableIterator<T> {
    for (const flow of this.#flows?.active ?? []) {
      for (let node = flow.head; node !== undefined; node = node.next) yield node.item;
    }
  }

  #headChanged(flow: Flow<T>, { active }: Flows<T>): void {
    const { head } = flow;
    if (head === undefined) {
      active.remove(flow);
      return;
    }
    flow.tag = head.isPaid ? this.#virtualTime : Math.max(this.#virtualTime, flow.finish);
    if (flow.heapIndex >= 0) active.moved(flow);
    else active.add(flow);
  }

  #remove(node: FlowNode<T>): void {
    const { flow } = node;
    const wasHead = flow.head === node;
    unlink(node);
    node.item.queueNode = undefined;
    this.#size--;
    // No flow has to wait for another any longer, so what each has had no longer counts.
    if (this.#size === 0) this.#flows = undefined;
    if (this.#flows === undefined) return;
    if (wasHead) this.#headChanged(flow, this.#flows);
    if (flow.length === 0) this.#flows.byOwner.onEmpty(flow, this.#virtualTime);
  }
}

interface Flows<T extends QueueItem> {
  /** The flows that have items, ordered by their heads. */
  readonly active: Heap<Flow<T>>;
  readonly byOwner: FlowsByOwner<T>;
}

/** Tags are sums of fractions: tags that differ by less than this are equal. */
const EPSILON = 1e-9;
