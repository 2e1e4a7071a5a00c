import {
  costOf,
  type FairQueue,
  type Flow,
  type Owner,
  type QueuedItem,
  weightOf,
} from './flow.ts';
import { findFlow, flowToJoin, forgetIdle, onEmptyFlow, startOf } from './flows-by-owner.ts';

/**
 * Start-time fair queueing over flows. The items are the waiting tickets of a bucket; a flow is the
 * items of one caller at one priority.
 *
 * Only the head of a flow has a start tag: the later of the virtual time and the flow's finish. The
 * item with the least tag goes next, the virtual time becomes its tag, and the flow's finish
 * becomes tag + cost / weight. So a caller with ten thousand items has at most one of its own served
 * before another caller's next item. An item that is removed, or added again for a retry, costs its
 * flow nothing.
 *
 * Callers choose their names, so a new name must not give an advantage: a caller with a new name
 * for every item gets what one flow gets (flows-by-owner.ts).
 *
 * The data are in this process (memory-queue.ts), or in Redis (stored-queue.lua).
 *
 * Source: Goyal, Vin, Cheng: Start-time Fair Queueing, 1996.
 */

/** Tags are sums of fractions: tags that differ by less than this are equal. */
const EPSILON = 1e-9;

/** Adds an item to its flow, by its time of arrival. */
export function addItem<I extends QueuedItem, F extends Flow, O extends Owner>(
  queue: FairQueue<I, F, O>,
  item: I,
): void {
  const flow = flowToJoin(queue, item);
  const extra = costOf(item) - 1;
  queue.size++;
  queue.extra += extra;
  flow.length++;
  flow.extra += extra;
  if (queue.insert(flow, item)) placeHead(queue, flow, item);
}

/** Removes an item whose turn it is, and charges its flow. */
export function takeItem<I extends QueuedItem, F extends Flow, O extends Owner>(
  queue: FairQueue<I, F, O>,
  item: I,
): void {
  const flow = queue.flowOf(item);
  queue.virtualTime = Math.max(queue.virtualTime, flow.tag);
  if (!item.paid) flow.finish = flow.tag + costOf(item) / weightOf(item);
  unlinkItem(queue, flow, item, true);
  forgetIdle(queue);
}

/** Removes an item from any position, at no cost to its flow. */
export function removeItem<I extends QueuedItem, F extends Flow, O extends Owner>(
  queue: FairQueue<I, F, O>,
  item: I,
): void {
  unlinkItem(queue, queue.flowOf(item), item, false);
}

/**
 * How many operations the items of a queue or of a flow are, if those that state no cost are `callCost`
 * each. Where that is not 1, those that state one count for too much, by less than `callCost` each.
 */
export function operationsOf(length: number, extra: number, callCost: number): number {
  return length * callCost + extra;
}

/**
 * The number of queued operations that would go before `item` if it were added now; `undefined`
 * when there are too many flows to count. Of its own flow, only the items that arrived before it go
 * first: a retry, or a ticket that is judged again, can be older than all of them. An item that states
 * no cost is `callCost` operations. Of a flow whose items differ in cost, it is an estimate by their
 * mean, rounded up.
 */
export function operationsAhead<I extends QueuedItem, F extends Flow, O extends Owner>(
  queue: FairQueue<I, F, O>,
  item: QueuedItem,
  callCost: number,
): number | undefined {
  const own = findFlow(queue, item);
  let start = queue.virtualTime;
  let count = 0;
  let tagsBefore = 0;
  if (own !== undefined && own.length > 0) {
    const before = queue.countBefore(own, item) / own.length;
    tagsBefore = before * (own.length + own.extra);
    count = before * operationsOf(own.length, own.extra, callCost);
  }
  // The head of a flow that was charged for it goes at the current virtual time.
  if (count > 0 || !item.paid) start = Math.max(start, startIn(queue, own, item));
  const tag = start + tagsBefore / weightOf(item);
  const flows = queue.activeUpTo(tag + EPSILON);
  if (flows === undefined) return undefined;
  for (const flow of flows) {
    if (flow !== own && flow.tag <= tag + EPSILON) {
      const tagCost = (flow.length + flow.extra) / flow.length;
      const before = Math.floor(((tag - flow.tag) * flow.weight) / tagCost + EPSILON) + 1;
      const operations = operationsOf(flow.length, flow.extra, callCost);
      count += Math.min(operations, before * (operations / flow.length));
    }
  }
  return Math.ceil(count);
}

/** The virtual time at which the flow of `item` starts to be served, or its new flow. */
function startIn<I extends QueuedItem, F extends Flow, O extends Owner>(
  queue: FairQueue<I, F, O>,
  own: F | undefined,
  item: QueuedItem,
): number {
  if (own === undefined) return startOf(queue, item);
  return own.length > 0 ? own.tag : own.finish;
}

/** `isTaken`: the flow was charged, so its head gets another tag, whichever item was removed. */
function unlinkItem<I extends QueuedItem, F extends Flow, O extends Owner>(
  queue: FairQueue<I, F, O>,
  flow: F,
  item: I,
  isTaken: boolean,
): void {
  const wasHead = queue.unlink(flow, item);
  const extra = costOf(item) - 1;
  queue.size--;
  queue.extra -= extra;
  flow.length--;
  flow.extra -= extra;
  if (queue.size === 0) {
    // No flow has to wait for another any longer, so what each has had no longer counts.
    queue.clear();
  } else if (flow.length === 0) {
    queue.deactivate(flow);
    onEmptyFlow(queue, flow);
  } else if (wasHead || isTaken) {
    const head = queue.headOf(flow);
    if (head !== undefined) placeHead(queue, flow, head);
  }
}

/** Gives the head of a flow its tag, and the flow its place among the others. */
function placeHead<I extends QueuedItem, F extends Flow, O extends Owner>(
  queue: FairQueue<I, F, O>,
  flow: F,
  head: I,
): void {
  flow.tag = head.paid ? queue.virtualTime : Math.max(queue.virtualTime, flow.finish);
  flow.weight = weightOf(head);
  queue.activate(flow, head);
}
