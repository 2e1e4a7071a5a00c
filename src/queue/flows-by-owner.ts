import { type Flow, makeFlow, NAMED_FLOWS_PER_OWNER, Owner } from './flow.ts';
import { Heap } from '../util/heap.ts';
import { type Turn, weightOf } from './turn.ts';

const MAX_IDLE_FLOWS = 4096;

/**
 * Which flow a ticket belongs to, and where a new flow starts.
 *
 * An owner's new flows of one priority start one behind the other, at the finish of a flow that
 * they share, so that inventing names yields nothing. Each priority has its own such line: behind one
 * low name a high one would otherwise stand for a hundred of its own shares. A name that was here
 * before is no new one and starts at the virtual time.
 *
 * An empty flow is remembered while it is ahead of its share; else emptying it would start it afresh.
 */
export class FlowsByOwner<T extends Turn> {
  readonly #owners = new Map<string, Owner<T>>();
  /** Flows in which none waits but which have had more than their share so far. */
  readonly #idle = new Heap<Flow<T>>((a, b) => a.finish < b.finish);

  /** How many empty flows are remembered. */
  get idle(): number {
    return this.#idle.size;
  }

  /** The flow that tickets like `turn` are in, or would be; `undefined` when it would be a new one. */
  find(turn: Turn): Flow<T> | undefined {
    const owner = this.#owners.get(turn.owner);
    if (owner === undefined) return undefined;
    const named = owner.named.get(flowName(turn));
    if (named !== undefined) return named;
    return owner.named.size >= NAMED_FLOWS_PER_OWNER ? owner.shared[turn.priority] : undefined;
  }

  /** Where a flow would start that is not remembered. A name that was here before is no new one. */
  startOf(turn: Turn, virtualTime: number): number {
    const owner = this.#owners.get(turn.owner);
    if (owner === undefined || owner.known.has(flowName(turn))) return virtualTime;
    return Math.max(virtualTime, owner.shared[turn.priority].finish);
  }

  /** The flow for a ticket that is about to join it. */
  join(ticket: T, virtualTime: number): Flow<T> {
    const existing = this.find(ticket);
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
    const flow = makeFlow(owner, name, this.startOf(ticket, virtualTime));
    if (!owner.recognise(name)) {
      const shared = owner.shared[ticket.priority];
      shared.finish = flow.finish + 1 / weightOf(ticket);
      this.#idle.moved(shared);
    }
    owner.named.set(name, flow);
    return flow;
  }

  /** A flow became empty: it is remembered only while it is ahead of its share. */
  rest(flow: Flow<T>, virtualTime: number): void {
    if (flow.finish <= virtualTime) {
      this.#forget(flow, virtualTime);
      return;
    }
    this.#idle.add(flow);
    // Each is dropped for good, an owner's shared one after its last named one.
    while (this.#idle.size > MAX_IDLE_FLOWS) this.#forget(this.#idle.take(), virtualTime);
  }

  /** The virtual time moved on: those that are ahead of it no more are forgotten. */
  advance(virtualTime: number): void {
    for (;;) {
      const { first } = this.#idle;
      if (first === undefined || first.finish > virtualTime) break;
      this.#idle.remove(first);
      this.#forget(first, virtualTime);
    }
  }

  #forget(flow: Flow<T> | undefined, virtualTime: number): void {
    if (flow === undefined) return;
    const { owner } = flow;
    if (owner.named.get(flow.name) === flow) owner.named.delete(flow.name);
    if (owner.named.size > 0) return;
    let ahead = false;
    for (const shared of Object.values(owner.shared)) {
      const dropped = shared === flow || shared.finish <= virtualTime;
      if (shared.length === 0 && dropped) continue;
      ahead = true;
      if (shared.length === 0 && shared.heapIndex < 0) this.#idle.add(shared);
    }
    if (!ahead && this.#owners.get(owner.name) === owner) this.#owners.delete(owner.name);
  }
}

function flowName({ caller, priority }: Turn): string {
  return `${priority} ${caller}`;
}
