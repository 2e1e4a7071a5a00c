import { fadedUse } from './flow.ts';

/** How many owners a bucket remembers. */
export const MAX_OWNERS = 32;
/** An owner is known for this many periods after its last request. */
const KNOWN_PERIODS = 5;
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
 *
 * The owners are in this process (memory-owners.ts), or in Redis (owners.lua). Of each there are three
 * numbers: `seenAt`, the time of its last request, `used`, its use at that time, and `waiting`, the use
 * that its queued tickets will be.
 */

/** All owners of a bucket at one time. */
export interface Survey {
  /** How many are known, and what these used together. */
  known: number;
  used: number;
  /** The least that a known owner used and waits for. */
  leastDemand: number;
  /** The least use of an owner that has queued tickets. */
  leastWaiting: number;
}

export function makeSurvey(): Survey {
  return { known: 0, used: 0, leastDemand: Infinity, leastWaiting: Infinity };
}

/** Adds an owner to the survey of the time `now`, by its three numbers. */
export function addToSurvey(
  survey: Survey,
  seenAt: number,
  used: number,
  waiting: number,
  periodMs: number,
  now: number,
): void {
  const faded = fadedUse(seenAt, used, periodMs, now);
  if (now - seenAt <= KNOWN_PERIODS * periodMs) {
    survey.known++;
    survey.used += faded;
    survey.leastDemand = Math.min(survey.leastDemand, faded + waiting);
  }
  if (waiting > ROUNDING) survey.leastWaiting = Math.min(survey.leastWaiting, faded);
}

/** Whether a known owner is modest, and another one is known. */
export function hasModestOwner(survey: Survey): boolean {
  return survey.leastDemand <= modestUse(survey);
}

/** Whether tickets of a modest owner may be in the queue, which then go first. */
export function mayModestWait(survey: Survey): boolean {
  return survey.leastWaiting <= modestUse(survey);
}

/** Whether an owner is modest that has this demand: what it used, and what it waits for. */
export function isModest(survey: Survey, demand: number): boolean {
  return demand <= modestUse(survey) + ROUNDING;
}

/** The most that a modest owner uses; below 0 when fewer than two owners are known. */
function modestUse({ known, used }: Survey): number {
  return known < 2 ? -1 : (MODEST_PART * used) / known;
}
