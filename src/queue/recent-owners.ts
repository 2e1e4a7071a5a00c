/** How many owners a bucket remembers. */
const MAX_OWNERS = 32;
/** An owner is known for this many periods after its last request. */
const KNOWN_PERIODS = 5;
/** A use has no effect any longer after this many periods. */
const USED_PERIODS = 2;
/** A modest owner uses at most this part of what the known owners use on average. */
const MODEST_PART = 0.5;
/** Uses are sums of fractions, and differences below this are rounding. */
const ROUNDING = 1e-9;

/*
 * Which owners used a bucket lately, and how much of it. It decides for whom a part of the budget is
 * kept, and who may use that part.
 *
 * An owner's use is what it was granted, divided by the weights of its requests, and fades within two
 * periods. So owners that wait all the time have the same use, whatever their weights. An owner is
 * modest if its use, with what it waits for, is at most half of the mean.
 */

/** The owners that used a bucket lately: parallel lists, because Redis stores them. */
export interface RecentOwners {
  readonly names: string[];
  /** When the use was computed last, which is at each request of the owner. */
  readonly seenAt: number[];
  readonly used: number[];
  /** The use that its queued tickets will be. */
  readonly waiting: number[];
}

export function makeRecentOwners(): RecentOwners {
  return { names: [], seenAt: [], used: [], waiting: [] };
}

/** Records a request of an owner that was granted `use` now; 0 for one that was not granted yet. */
export function seeOwner(
  owners: RecentOwners,
  name: string,
  use: number,
  periodMs: number | undefined,
  now: number,
): void {
  let at = placeOf(owners, name);
  if (at < 0) at = addOwner(owners, name, now);
  owners.used[at] = usedBy(owners, at, periodMs, now) + use;
  owners.seenAt[at] = now;
}

/** Counts the use of a ticket that was queued, or that left the queue if `change` is negative. */
export function countWaiting(owners: RecentOwners, name: string, change: number): void {
  const at = placeOf(owners, name);
  // An owner may be forgotten while it has tickets in the queue.
  if (at >= 0) owners.waiting[at] = Math.max(0, (owners.waiting[at] ?? 0) + change);
}

/** Whether a known owner is modest, and another one is known. */
export function hasModestOwner(owners: RecentOwners, periodMs: number, now: number): boolean {
  const most = modestUse(owners, periodMs, now);
  for (let i = 0; i < owners.names.length; i++) {
    const isModestOwner = demandOf(owners, i, periodMs, now) <= most;
    if (isModestOwner && isKnown(owners, i, periodMs, now)) return true;
  }
  return false;
}

/** Whether tickets of a modest owner may be in the queue, which then go first. */
export function mayModestWait(owners: RecentOwners, periodMs: number, now: number): boolean {
  const most = modestUse(owners, periodMs, now);
  for (let i = 0; i < owners.names.length; i++) {
    const isWaiting = (owners.waiting[i] ?? 0) > ROUNDING;
    if (isWaiting && usedBy(owners, i, periodMs, now) <= most) return true;
  }
  return false;
}

/**
 * Whether the owner of a ticket is modest, without the ticket's `own` use if that is counted as
 * waiting.
 */
export function isModest(
  owners: RecentOwners,
  name: string,
  own: number,
  periodMs: number,
  now: number,
): boolean {
  const at = placeOf(owners, name);
  const demand = at < 0 ? 0 : demandOf(owners, at, periodMs, now) - own;
  return demand <= modestUse(owners, periodMs, now) + ROUNDING;
}

function demandOf(owners: RecentOwners, at: number, periodMs: number, now: number): number {
  return usedBy(owners, at, periodMs, now) + (owners.waiting[at] ?? 0);
}

/** The most that a modest owner uses; below 0 when fewer than two owners are known. */
function modestUse(owners: RecentOwners, periodMs: number, now: number): number {
  let known = 0;
  let sum = 0;
  for (let i = 0; i < owners.names.length; i++) {
    if (isKnown(owners, i, periodMs, now)) {
      known++;
      sum += usedBy(owners, i, periodMs, now);
    }
  }
  return known < 2 ? -1 : (MODEST_PART * sum) / known;
}

function isKnown({ seenAt }: RecentOwners, at: number, periodMs: number, now: number): boolean {
  return now - (seenAt[at] ?? 0) <= KNOWN_PERIODS * periodMs;
}

/** An owner's use at `now`. */
function usedBy(
  { used, seenAt }: RecentOwners,
  at: number,
  periodMs: number | undefined,
  now: number,
): number {
  const before = used[at] ?? 0;
  if (periodMs === undefined) return before;
  const fadedPeriods = (now - (seenAt[at] ?? 0)) / periodMs;
  return before * Math.max(0, 1 - fadedPeriods / USED_PERIODS);
}

/** Adds an owner, in place of the one that was seen least recently if there are too many. */
function addOwner(
  { names, seenAt, used, waiting }: RecentOwners,
  name: string,
  now: number,
): number {
  let at = names.length;
  if (at >= MAX_OWNERS) {
    at = 0;
    for (let i = 1; i < names.length; i++) if ((seenAt[i] ?? 0) < (seenAt[at] ?? 0)) at = i;
  }
  names[at] = name;
  seenAt[at] = now;
  used[at] = 0;
  waiting[at] = 0;
  return at;
}

function placeOf({ names }: RecentOwners, name: string): number {
  for (let i = 0; i < names.length; i++) if (names[i] === name) return i;
  return -1;
}
