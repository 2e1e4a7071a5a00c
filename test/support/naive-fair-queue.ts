import type { Priority, QueueItem } from '../../src/queue/flow.ts';

const WEIGHT: Readonly<Record<Priority, number>> = { high: 100, normal: 10, low: 1 };

interface NaiveFlow<T> {
  finish: number;
  tag: number;
  readonly waiting: { readonly ticket: T; readonly paid: boolean; readonly order: number }[];
}

/** Start-time fair queueing as its definition reads, with lists and no care for speed. */
export class NaiveFairQueue<T extends QueueItem> {
  #virtualTime = 0;
  #order = 0;
  #flows = new Map<string, NaiveFlow<T>>();
  /** Where an owner's next new flow at a priority starts. */
  #newcomers = new Map<string, number>();
  /** Names that are no newcomers although their flows were forgotten. */
  #known = new Set<string>();

  add(ticket: T, { paid = false } = {}): void {
    const name = `${ticket.owner}|${ticket.priority}|${ticket.caller}`;
    const line = `${ticket.owner}|${ticket.priority}`;
    let flow = this.#flows.get(name);
    if (flow === undefined) {
      const known = this.#known.has(name);
      const finish = known
        ? this.#virtualTime
        : Math.max(this.#virtualTime, this.#newcomers.get(line) ?? 0);
      if (!known) this.#newcomers.set(line, finish + (ticket.cost ?? 1) / weightOf(ticket));
      this.#known.add(name);
      flow = { finish, tag: finish, waiting: [] };
      this.#flows.set(name, flow);
    }
    const headBefore = flow.waiting[0];
    flow.waiting.push({ ticket, paid, order: this.#order++ });
    flow.waiting.sort((a, b) => a.ticket.arrivedAt - b.ticket.arrivedAt || a.order - b.order);
    if (flow.waiting[0] !== headBefore) this.#retag(flow);
  }

  get head(): T | undefined {
    return this.#next()?.waiting[0]?.ticket;
  }

  take(): T | undefined {
    const flow = this.#next();
    const first = flow?.waiting.shift();
    if (flow === undefined || first === undefined) return undefined;
    this.#virtualTime = Math.max(this.#virtualTime, flow.tag);
    const { cost = 1 } = first.ticket;
    if (!first.paid) flow.finish = flow.tag + cost / weightOf(first.ticket);
    this.#retag(flow);
    this.#forget();
    return first.ticket;
  }

  remove(ticket: T): void {
    for (const flow of this.#flows.values()) {
      const at = flow.waiting.findIndex((one) => one.ticket === ticket);
      if (at === -1) continue;
      flow.waiting.splice(at, 1);
      if (at === 0) this.#retag(flow);
    }
    this.#forget();
  }

  #next(): NaiveFlow<T> | undefined {
    const active = [...this.#flows.values()].filter(({ waiting }) => waiting.length > 0);
    return active.sort((a, b) => a.tag - b.tag || cameFirst(a, b))[0];
  }

  #retag(flow: NaiveFlow<T>): void {
    const paid = flow.waiting[0]?.paid === true;
    flow.tag = paid ? this.#virtualTime : Math.max(this.#virtualTime, flow.finish);
  }

  /** A flow is remembered while it waits or is ahead of its share; nobody is when nobody waits. */
  #forget(): void {
    const flows = [...this.#flows];
    if (flows.every(([, { waiting }]) => waiting.length === 0)) {
      this.#flows.clear();
      this.#newcomers.clear();
      this.#known.clear();
    }
    for (const [name, { waiting, finish }] of flows) {
      if (waiting.length === 0 && finish <= this.#virtualTime) this.#flows.delete(name);
    }
    const ownerOf = (name: string): string => name.split('|', 1)[0] ?? '';
    const ahead = new Set([...this.#flows.keys()].map(ownerOf));
    for (const [line, start] of this.#newcomers) {
      if (start > this.#virtualTime) ahead.add(ownerOf(line));
    }
    for (const name of this.#known) if (!ahead.has(ownerOf(name))) this.#known.delete(name);
  }
}

function cameFirst<T extends QueueItem>(a: NaiveFlow<T>, b: NaiveFlow<T>): number {
  const [x, y] = [a.waiting[0], b.waiting[0]];
  if (x === undefined || y === undefined) return 0;
  return x.ticket.arrivedAt - y.ticket.arrivedAt || x.order - y.order;
}

function weightOf({ priority, weight }: QueueItem): number {
  return WEIGHT[priority] * weight;
}
