import {
  costOf,
  type FairQueue,
  type Flow,
  type Owner,
  type Priority,
  type QueuedItem,
  type QueueItem,
  weightOf,
} from './flow.ts';

/**
 * Which flow an item joins, and at which virtual time a new flow starts.
 *
 * An owner's new flows of one priority start one after the other, at the finish of the flow that
 * they share. So an owner that invents names gets no more than one flow would get. This holds per
 * priority: behind one new low flow, a new high flow would start a hundred of its own shares late.
 * A flow whose name is known is not new and starts at the current virtual time.
 *
 * An empty flow is remembered while it is ahead of its share. If it were forgotten earlier, a
 * caller could empty its flow to start again without debt.
 */

/** The most named flows, and the most known names, of an owner. Further names share a flow. */
const NAMED_FLOWS_PER_OWNER = 13;
const MAX_IDLE_FLOWS = 4096;

/** The existing flow for `item`; `undefined` when `item` would get a new flow. */
export function findFlow<I extends QueuedItem, F extends Flow, O extends Owner>(
  queue: FairQueue<I, F, O>,
  item: QueueItem,
): F | undefined {
  const named = queue.namedFlow(item);
  if (named !== undefined) return named;
  const owner = queue.findOwner(item.owner);
  const hasMany = owner !== undefined && owner.named >= NAMED_FLOWS_PER_OWNER;
  return hasMany ? queue.sharedFlow(owner, item.priority) : undefined;
}

/** The virtual time at which a new flow for `item` starts. */
export function startOf<I extends QueuedItem, F extends Flow, O extends Owner>(
  queue: FairQueue<I, F, O>,
  item: QueueItem,
): number {
  const owner = queue.findOwner(item.owner);
  if (owner === undefined || indexOf(owner.known, nameOf(item)) >= 0) return queue.virtualTime;
  const shared = queue.sharedFlow(owner, item.priority);
  return shared === undefined ? queue.virtualTime : Math.max(queue.virtualTime, shared.finish);
}

/** The flow that `item` is about to be added to, created if there is none. */
export function flowToJoin<I extends QueuedItem, F extends Flow, O extends Owner>(
  queue: FairQueue<I, F, O>,
  item: I,
): F {
  const existing = findFlow(queue, item);
  if (existing !== undefined) {
    if (existing.length === 0) queue.removeIdle(existing);
    return existing;
  }
  const start = startOf(queue, item);
  const owner = queue.findOwner(item.owner) ?? queue.makeOwner(item.owner);
  if (owner.named >= NAMED_FLOWS_PER_OWNER) return queue.makeSharedFlow(owner, item.priority);
  if (!rememberName(owner, nameOf(item))) {
    const shared =
      queue.sharedFlow(owner, item.priority) ?? queue.makeSharedFlow(owner, item.priority);
    shared.finish = start + costOf(item) / weightOf(item);
    queue.moveIdle(shared);
  }
  owner.named++;
  return queue.makeNamedFlow(owner, item, start);
}

/** Called when `flow` became empty: remembers it if it is ahead of its share, else forgets it. */
export function onEmptyFlow<I extends QueuedItem, F extends Flow, O extends Owner>(
  queue: FairQueue<I, F, O>,
  flow: F,
): void {
  if (flow.finish > queue.virtualTime) queue.addIdle(flow);
  else forget(queue, flow);
  // An owner's last named flow leaves up to three shared ones, which are dropped after it.
  while (queue.idleCount() > MAX_IDLE_FLOWS) {
    const first = queue.takeIdle(Infinity);
    if (first === undefined) return;
    forget(queue, first);
  }
}

/** Called when the virtual time moved on: forgets the empty flows that are not ahead of it. */
export function forgetIdle<I extends QueuedItem, F extends Flow, O extends Owner>(
  queue: FairQueue<I, F, O>,
): void {
  let first = queue.takeIdle(queue.virtualTime);
  while (first !== undefined) {
    forget(queue, first);
    first = queue.takeIdle(queue.virtualTime);
  }
}

/** Forgets an empty flow, and its owner when none of the owner's flows is needed any longer. */
function forget<I extends QueuedItem, F extends Flow, O extends Owner>(
  queue: FairQueue<I, F, O>,
  flow: F,
): void {
  const owner = queue.ownerOf(flow);
  if (flow.named) {
    owner.named--;
    queue.dropFlow(owner, flow);
  }
  if (owner.named > 0) return;
  const needsHigh = needsShared(queue, owner, 'high', flow);
  const needsNormal = needsShared(queue, owner, 'normal', flow);
  const needsLow = needsShared(queue, owner, 'low', flow);
  if (!needsHigh && !needsNormal && !needsLow) queue.dropOwner(owner);
}

/** Whether an owner's shared flow is needed after `forgotten`; remembers it if it is. */
function needsShared<I extends QueuedItem, F extends Flow, O extends Owner>(
  queue: FairQueue<I, F, O>,
  owner: O,
  priority: Priority,
  forgotten: F,
): boolean {
  const shared = queue.sharedFlow(owner, priority);
  if (shared === undefined) return false;
  if (shared.length > 0) return true;
  if (shared.finish <= queue.virtualTime) return false;
  // A shared flow that was dropped, now or before this one, stays dropped: else an owner's shared
  // flows could replace each other without end.
  if (!forgotten.named && !queue.isIdle(shared)) return false;
  queue.addIdle(shared);
  return true;
}

function nameOf(item: QueueItem): string {
  return item.priority + ' ' + item.caller;
}

/** Makes `name` the one that its owner used last; returns whether it was known before. */
function rememberName(owner: Owner, name: string): boolean {
  const { known } = owner;
  const at = indexOf(known, name);
  if (at < 0) {
    known.push(name);
    if (known.length > NAMED_FLOWS_PER_OWNER) known.shift();
    return false;
  }
  for (let i = at; i < known.length; i++) known[i] = known[i + 1] ?? name;
  return true;
}

/** The position of a name in a list; −1 when it is not there. */
function indexOf(names: readonly string[], name: string): number {
  for (let i = 0; i < names.length; i++) if (names[i] === name) return i;
  return -1;
}
