/** How urgent a call is; a weight, so nothing starves. */
export type Priority = 'high' | 'normal' | 'low';

export const PRIORITIES: readonly Priority[] = ['high', 'normal', 'low'];

const PRIORITY_WEIGHT: Readonly<Record<Priority, number>> = { high: 100, normal: 10, low: 1 };

/** What decides a ticket's place. */
export interface Turn {
  /** Who the queue is fair to in the end: a key, else an address. */
  readonly owner: string;
  readonly caller: string;
  readonly priority: Priority;
  /** The caller's share against others at the same priority. */
  readonly weight: number;
  readonly arrivedAt: number;
}

/** What one grant costs a flow is 1 / this. */
export function weightOf({ priority, weight }: Turn): number {
  return PRIORITY_WEIGHT[priority] * weight;
}
