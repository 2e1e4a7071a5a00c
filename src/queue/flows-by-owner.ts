import {
  type Flow,
  makeFlow,
  NAMED_FLOWS_PER_OWNER,
  Owner,
  type QueueItem,
  weightOf,
} from './flow.ts';
import { Heap } from '../util/heap.ts';

const MAX_IDLE_FLOWS = 4096;

/**
 * Finds the flow of an item, and decides at which virtual time a new flow starts.
 *
 * An owner's new flows of one priority start one after the other, at the finish of the flow that
 * they share. So an owner that invents names gets no more than one flow would get. This holds per
 * priority: behind one new low flow, a new high flow would start a hundred of its own shares late.
 * A flow whose name is known is not new and starts at the current virtual time.
 *
 * An empty flow is remembered while it is ahead of its share. If it were forgotten earlier, a
 * caller could empty its flow to start again without debt.
 */
export class FlowsByOwner<T extends QueueItem> {
  readonly #owners = new Map<string, Owner<T>>();
  /** Empty flows that have had more than their share so far, by their finish. */
  readonly #idle = new Heap<Flow<T>>((a, b) => a.finish < b.finish);

  /** The number of empty flows that are remembered. */
  get idle(): number {
    return this.#idle.size;
  }

  /** The existing flow for `item`; `undefined` when `item` would get a new flow. */
  find(item: QueueItem): Flow<T> | undefined {
    const owner = this.#owners.get(item.owner);
    if (owner === undefined) return undefined;
    const named = owner.namedFlows.get(flowName(item));
    if (named !== undefined) return named;
    return owner.namedFlows.size >= NAMED_FLOWS_PER_OWNER
      ? owner.sharedFlows[item.priority]
      : undefined;
  }

  /** The virtual time at which a new flow for `item` starts. */
  startOf(item: QueueItem, virtualTime: number): number {
    const owner = this.#owners.get(item.owner);
    if (owner === undefined || owner.knownNames.has(flowName(item))) return virtualTime;
    return Math.max(virtualTime, owner.sharedFlows[item.priority].finish);
  }

  /** The flow that `item` is about to be added to, created if there is none. */
  findOrCreate(item: T, virtualTime: number): Flow<T> {
    const existing = this.find(item);
    if (existing !== undefined) {
      this.#idle.remove(existing);
      return existing;
    }
    let owner = this.#owners.get(item.owner);
    if (owner === undefined) {
      owner = new Owner<T>(item.owner);
      this.#owners.set(item.owner, owner);
    }
    const name = flowName(item);
    const flow = makeFlow(owner, name, this.startOf(item, virtualTime));
    if (!owner.rememberName(name)) {
      const shared = owner.sharedFlows[item.priority];
      shared.finish = flow.finish + 1 / weightOf(item);
      this.#idle.moved(shared);
    }
    owner.namedFlows.set(name, flow);
    return flow;
  }

  /** Called when `flow` became empty: remembers it if it is ahead of its share, else forgets it. */
  onEmpty(flow: Flow<T>, virtualTime: number): void {
    if (flow.finish <= virtualTime) this.#forget(flow, virtualTime);
    else this.#idle.add(flow);
    // An owner's last named flow leaves up to three shared ones, which are dropped after it.
    while (this.#idle.size > MAX_IDLE_FLOWS) this.#forget(this.#idle.take(), virtualTime);
  }

  /** Called when the virtual time moved on: forgets the empty flows that are not ahead of it. */
  advance(virtualTime: number): void {
    for (;;) {
      const { first } = this.#idle;
      if (first === undefined || first.finish > virtualTime) break;
      this.#idle.remove(first);
      this.#forget(first, virtualTime);
    }
  }

  /** Forgets an empty flow, and its owner when none of the owner's flows is needed any longer. */
  #forget(flow: Flow<T> | undefined, virtualTime: number): void {
    if (flow === undefined) return;
    const { owner } = flow;
    if (owner.namedFlows.get(flow.name) === flow) owner.namedFlows.delete(flow.name);
    if (owner.namedFlows.size > 0) return;
    const wasShared =
      owner.sharedFlows.high === flow ||
      owner.sharedFlows.normal === flow ||
      owner.sharedFlows.low === flow;
    let isNeeded = false;
    for (const shared of Object.values(owner.sharedFlows)) {
      const canGo = shared === flow || shared.finish <= virtualTime;
      if (shared.length === 0 && canGo) continue;
      if (shared.length === 0 && shared.heapIndex < 0) {
        // It was dropped before `flow`. If it were added again, the owner's shared flows could
        // replace each other without end.
        if (wasShared) continue;
        this.#idle.add(shared);
      }
      isNeeded = true;
    }
    if (!isNeeded && this.#owners.get(owner.name) === owner) this.#owners.delete(owner.name);
  }
}

function flowName({ caller, priority }: QueueItem): string {
  return `${priority} ${caller}`;
}
