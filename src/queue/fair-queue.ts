import {
  type Flow,
  headGoesFirst,
  insert,
  isLonger,
  type Node,
  type Queued,
  unlink,
} from './flow.ts';
import { FlowsByOwner } from './flows-by-owner.ts';
import { Heap } from '../util/heap.ts';
import { type Turn, weightOf } from './turn.ts';

export type { Queued } from './flow.ts';
export { PRIORITIES, type Priority, type Turn } from './turn.ts';

/**
 * Whose turn it is: start-time fair queueing over flows, a flow being one caller's tickets at one
 * priority.
 *
 * Only the head of a flow has a tag: the later of the virtual time and the flow's finish. The least
 * tag goes next, the virtual time follows it, and the flow's finish moves on by 1 / weight. So a
 * caller with ten thousand waiting delays another's next ticket by at most one of its own, and a
 * ticket that leaves, or comes back for another attempt, costs its flow nothing.
 *
 * A name costs nothing to invent, so a new one does not start afresh: naming every ticket anew
 * yields what one flow yields ({@link FlowsByOwner}).
 *
 * (Goyal, Vin, Cheng: Start-time Fair Queueing, 1996.)
 */
export class FairQueue<T extends Queued<T>> {
  #virtualTime = 0;
  #size = 0;
  #order = 0;
  /** Made anew when somebody comes: there may be thousands of queues, and few in which any wait. */
  #lines: Lines<T> | undefined;

  /** How many tickets wait. */
  get size(): number {
    return this.#size;
  }

  /** How many flows are remembered, waiting or ahead of their share. */
  get flows(): number {
    return this.#lines === undefined ? 0 : this.#lines.active.size + this.#lines.flows.idle;
  }

  /**
   * Puts a ticket into its flow by the time of its arrival. `paid` says that it was taken before
   * and comes back for another attempt: its turn comes at once and costs nothing more.
   */
  add(ticket: T, { paid = false } = {}): void {
    const lines = (this.#lines ??= {
      active: new Heap<Flow<T>>(headGoesFirst),
      flows: new FlowsByOwner<T>(),
    });
    const flow = lines.flows.join(ticket, this.#virtualTime);
    const node: Node<T> = {
      ticket,
      paid,
      flow,
      order: this.#order++,
      previous: undefined,
      next: undefined,
    };
    insert(flow, node);
    ticket.place = node;
    this.#size++;
    if (flow.head === node) this.#headChanged(flow, lines);
  }

  /** The ticket whose turn it is, left where it is. */
  get head(): T | undefined {
    return this.#lines?.active.first?.head?.ticket;
  }

  /** Takes out the ticket whose turn it is, and charges its flow. */
  take(): T | undefined {
    const flow = this.#lines?.active.first;
    const node = flow?.head;
    if (flow === undefined || node === undefined) return undefined;
    this.#virtualTime = Math.max(this.#virtualTime, flow.tag);
    if (!node.paid) flow.finish = flow.tag + 1 / weightOf(node.ticket);
    this.#remove(node);
    this.#lines?.flows.advance(this.#virtualTime);
    return node.ticket;
  }

  /** Takes a ticket out, wherever it stands, at no cost to its flow; says whether it was there. */
  remove(ticket: T): boolean {
    const { place } = ticket;
    if (place === undefined) return false;
    this.#remove(place);
    return true;
  }

  /** The last ticket of the longest flow, of several the last by name: who leaves a full queue. */
  get last(): T | undefined {
    let longest: Flow<T> | undefined;
    for (const flow of this.#lines?.active ?? []) {
      if (longest === undefined || isLonger(flow, longest)) longest = flow;
    }
    return longest?.tail?.ticket;
  }

  /** How many waiting tickets would go before `turn` if it came now. */
  ahead(turn: Turn): number {
    if (this.#lines === undefined) return 0;
    const { active, flows } = this.#lines;
    const own = flows.find(turn);
    const start =
      own === undefined
        ? flows.startOf(turn, this.#virtualTime)
        : Math.max(this.#virtualTime, own.length > 0 ? own.tag : own.finish);
    const tag = start + (own?.length ?? 0) / weightOf(turn);
    let count = own?.length ?? 0;
    for (const flow of active) {
      if (flow === own || flow.head === undefined || flow.tag > tag + EPSILON) continue;
      const sharesBefore = Math.floor((tag - flow.tag) * weightOf(flow.head.ticket) + EPSILON) + 1;
      count += Math.min(flow.length, sharesBefore);
    }
    return count;
  }

  /** Every waiting ticket, flow by flow. */
  *tickets(): IterableIterator<T> {
    for (const flow of this.#lines?.active ?? []) {
      for (let node = flow.head; node !== undefined; node = node.next) yield node.ticket;
    }
  }

  #headChanged(flow: Flow<T>, { active }: Lines<T>): void {
    const { head } = flow;
    if (head === undefined) {
      active.remove(flow);
      return;
    }
    flow.tag = head.paid ? this.#virtualTime : Math.max(this.#virtualTime, flow.finish);
    if (flow.heapIndex >= 0) active.moved(flow);
    else active.add(flow);
  }

  #remove(node: Node<T>): void {
    const { flow } = node;
    const wasHead = flow.head === node;
    unlink(node);
    node.ticket.place = undefined;
    this.#size--;
    // Nobody waits, so nobody can be ahead of anybody.
    if (this.#size === 0) this.#lines = undefined;
    if (this.#lines === undefined) return;
    if (wasHead) this.#headChanged(flow, this.#lines);
    if (flow.length === 0) this.#lines.flows.rest(flow, this.#virtualTime);
  }
}

interface Lines<T extends Turn> {
  /** Flows in which tickets wait, by whose head goes first. */
  readonly active: Heap<Flow<T>>;
  readonly flows: FlowsByOwner<T>;
}

/** Tags are sums of fractions; two that differ by less are the same. */
const EPSILON = 1e-9;
