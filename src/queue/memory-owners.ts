import { fadedUse } from './flow.ts';
import { addToSurvey, makeSurvey, MAX_OWNERS, type Survey } from './recent-owners.ts';

interface RecentOwner {
  name: string;
  seenAt: number;
  used: number;
  waiting: number;
}

/** The owners that used a bucket lately, in this process: recent-owners.ts says what follows. */
export class MemoryOwners {
  #owners: RecentOwner[] = [];
  /** The survey of {@link survey}, until an owner changes. */
  #survey: Survey | undefined;
  #surveyedAt = 0;
  #surveyedPeriodMs = 0;

  get size(): number {
    return this.#owners.length;
  }

  /** Records a request of an owner that was granted `use` now; 0 for one that was not granted yet. */
  see(name: string, use: number, periodMs: number | undefined, now: number): void {
    const owner = this.#find(name) ?? this.#add(name, now);
    // What an owner used alone took nothing from another one.
    const counted = this.#owners.length === 1 ? 0 : use;
    owner.used = fadedUse(owner.seenAt, owner.used, periodMs, now) + counted;
    owner.seenAt = now;
    this.#survey = undefined;
  }

  /** Counts the use of a ticket that was queued, or that left the queue if `change` is negative. */
  countWaiting(name: string, change: number): void {
    const owner = this.#find(name);
    // An owner may be forgotten while it has tickets in the queue.
    if (owner === undefined) return;
    owner.waiting = Math.max(0, owner.waiting + change);
    this.#survey = undefined;
  }

  survey(periodMs: number, now: number): Survey {
    const isSame = this.#surveyedAt === now && this.#surveyedPeriodMs === periodMs;
    if (this.#survey !== undefined && isSame) return this.#survey;
    const survey = makeSurvey();
    for (const { seenAt, used, waiting } of this.#owners) {
      addToSurvey(survey, seenAt, used, waiting, periodMs, now);
    }
    this.#survey = survey;
    this.#surveyedAt = now;
    this.#surveyedPeriodMs = periodMs;
    return survey;
  }

  /** What an owner used and waits for. */
  demandOf(name: string, periodMs: number, now: number): number {
    const owner = this.#find(name);
    if (owner === undefined) return 0;
    return fadedUse(owner.seenAt, owner.used, periodMs, now) + owner.waiting;
  }

  #find(name: string): RecentOwner | undefined {
    for (const owner of this.#owners) if (owner.name === name) return owner;
    return undefined;
  }

  /** Adds an owner, in place of the one that was seen least recently if there are too many. */
  #add(name: string, now: number): RecentOwner {
    const owner: RecentOwner = { name, seenAt: now, used: 0, waiting: 0 };
    if (this.#owners.length === 0) {
      // An array of the right length: most buckets have one owner, and there may be thousands of them.
      this.#owners = [owner];
      return owner;
    }
    if (this.#owners.length < MAX_OWNERS) {
      this.#owners.push(owner);
      return owner;
    }
    let oldest = 0;
    for (const [at, { seenAt }] of this.#owners.entries()) {
      if (seenAt < (this.#owners[oldest]?.seenAt ?? 0)) oldest = at;
    }
    this.#owners[oldest] = owner;
    return owner;
  }
}
