/** How urgent a call is. A priority is a weight, so a low one is never starved. */
export type Priority = 'high' | 'normal' | 'low';

/** The highest first. */
export const PRIORITIES: readonly Priority[] = ['high', 'normal', 'low'];

/** What the fair queue orders items by: their flow, weight, cost and time of arrival. */
export interface QueueItem {
  /** The party that the queue is fair to: the caller that the key belongs to, else the address. */
  readonly owner: string;
  readonly caller: string;
  readonly priority: Priority;
  /** The caller's share relative to other callers at the same priority. */
  readonly weight: number;
  /** How many operations it stands for; 1 unless given. */
  readonly cost?: number | undefined;
  readonly arrivedAt: number;
}

/** An item that can wait in a fair queue. */
export interface QueuedItem extends QueueItem {
  /**
   * Its flow was charged for it before: a retry. As the head of its flow it has the current virtual
   * time as its tag, and it is not charged again. Must not change while the item waits.
   */
  paid: boolean;
}

/** The items of one caller at one priority, in the order of their arrival. */
export interface Flow {
  /** Whether it is the flow of one name. Beyond a bound, the names of an owner share a flow. */
  readonly named: boolean;
  /** The start tag of the head, in virtual time; without meaning while the flow is empty. */
  tag: number;
  /** The weight of the head; without meaning while the flow is empty. */
  weight: number;
  /** The virtual time at which the flow's next head may start. */
  finish: number;
  /** How many items it has. */
  length: number;
  /** How many operations its items are, beyond one each: 0 where every item costs 1. */
  extra: number;
}

/** The owner of flows, with the names that its flows have and had. */
export interface Owner {
  /** How many named flows it has. */
  named: number;
  /** The names used last, least recently used first. A name outlives its flow. */
  readonly known: string[];
}

/**
 * A fair queue: its numbers, and how the functions of the queue reach its items, flows and owners.
 *
 * A function stores the flow or the owner that it is given, so a store in Redis writes those alone.
 * After each change of a flow or an owner, such a call follows.
 */
export interface FairQueue<I extends QueuedItem, F extends Flow, O extends Owner> {
  virtualTime: number;
  /** How many items wait. */
  size: number;
  /** How many operations they are, beyond one each. */
  extra: number;

  readonly findOwner: (name: string) => O | undefined;
  readonly makeOwner: (name: string) => O;
  /** Removes an owner that has no named flow and no item, with its shared flows. */
  readonly dropOwner: (owner: O) => void;

  /** The flow of the item's own name. */
  readonly namedFlow: (item: QueueItem) => F | undefined;
  /** The flow of one priority that the owner's further names share. */
  readonly sharedFlow: (owner: O, priority: Priority) => F | undefined;
  readonly makeNamedFlow: (owner: O, item: I, finish: number) => F;
  /** Makes a shared flow, whose finish is 0. */
  readonly makeSharedFlow: (owner: O, priority: Priority) => F;
  /** Removes an empty named flow of the owner. */
  readonly dropFlow: (owner: O, flow: F) => void;
  readonly ownerOf: (flow: F) => O;

  /** The flow in which an item waits. */
  readonly flowOf: (item: I) => F;
  /** Adds an item to its flow by its time of arrival; returns whether it is the head. */
  readonly insert: (flow: F, item: I) => boolean;
  /** Removes an item from any position of its flow; returns whether it was the head. */
  readonly unlink: (flow: F, item: I) => boolean;
  readonly headOf: (flow: F) => I | undefined;
  /** How many items of a flow arrived no later than `item`, which is not in it. */
  readonly countBefore: (flow: F, item: QueuedItem) => number;

  /** Puts a flow in its place among those that have items, by its tag and the arrival of its head. */
  readonly activate: (flow: F, head: I) => void;
  /** Removes a flow, which became empty, from those that have items. */
  readonly deactivate: (flow: F) => void;
  /**
   * The flows that have items and whose tag is at most this one. Others may be among them.
   * `undefined` when there are too many to read.
   */
  readonly activeUpTo: (tag: number) => readonly F[] | undefined;

  /** Remembers an empty flow until its finish; has no effect if it is remembered already. */
  readonly addIdle: (flow: F) => void;
  /** Moves a flow whose finish changed, if it is among the idle ones. */
  readonly moveIdle: (flow: F) => void;
  readonly removeIdle: (flow: F) => void;
  readonly isIdle: (flow: F) => boolean;
  /** Removes and returns the idle flow with the least finish, if that is at most this one. */
  readonly takeIdle: (finish: number) => F | undefined;
  readonly idleCount: () => number;

  /** Removes all flows and owners, when no item is left. */
  readonly clear: () => void;
}

/** The weight of an item: a grant moves the finish of its flow on by cost / weight. */
export function weightOf(item: QueueItem): number {
  if (item.priority === 'normal') return 10 * item.weight;
  return item.priority === 'high' ? 100 * item.weight : item.weight;
}

/** How many operations an item stands for. */
export function costOf(item: QueueItem): number {
  return item.cost ?? 1;
}

// How owners use the budget is the matter of recent-owners.ts. These two functions are here because a
// step in Redis needs them for each ticket, and the rest of that file only where there is a reserve.

/** A use has no effect any longer after this many periods. */
const USED_PERIODS = 2;

/** The use of the budget that an item is once it is granted (recent-owners.ts). */
export function useOf(item: QueueItem): number {
  return costOf(item) / weightOf(item);
}

/** What is left at `now` of a use that was computed at `usedAt`. */
export function fadedUse(
  usedAt: number,
  used: number,
  periodMs: number | undefined,
  now: number,
): number {
  return periodMs === undefined
    ? used
    : used * Math.max(0, 1 - (now - usedAt) / (USED_PERIODS * periodMs));
}
