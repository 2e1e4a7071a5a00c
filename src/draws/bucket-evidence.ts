import type { ReportedBudget } from '../rate-headers/budget-groups.ts';
import type { Exchange } from './attribution.ts';
import type { ClassLessons } from './class-lessons.ts';
import { CountEvidence, SiblingEvidence } from './count-evidence.ts';
import { bucketName } from './lesson.ts';
import { LimitEvidence } from './limit-evidence.ts';
import { RefusalEvidence } from './refusal-evidence.ts';
import type { ReadRoute } from './route-template.ts';
import type { Counter, Route, RouteLesson } from './route.ts';

/** What the answers to one credential show of one bucket. */
export interface Evidence {
  limits: LimitEvidence | undefined;
  readonly counts: CountEvidence;
  readonly refusals: RefusalEvidence;
  /** Present if counters were split from this bucket by their counts. */
  siblings: SiblingEvidence | undefined;
  /** Until when nothing is split from this bucket by its counts. */
  countsBlockedUntil: number;
  /** Whether its limit ever differed from that of the bucket from which it was split. */
  differed: boolean;
  /** The last request whose answer reported the bucket's limit. */
  lastMethod: string;
  lastPath: string;
}

/** An answer with one report, and what is known of its route and its bucket. */
export interface Studied {
  readonly exchange: Exchange;
  readonly report: ReportedBudget;
  readonly lessons: ClassLessons;
  readonly route: Route;
  /** The first id of the path. */
  readonly id: string;
  readonly counter: Counter;
  readonly evidence: Evidence;
}

const HOUR_MS = 3_600_000;
/** Longer paths are not kept: each bucket keeps one. */
const MAX_PATH = 1000;
const MAX_DOUBTS = 6;
/** How many answers in a row with the limit of the bucket it was split from undo that. */
const SAME_LIMITS = 3;

/** The evidence of a bounded number of buckets. Beyond it, the oldest is forgotten. */
export class EvidenceTable {
  /** By the id of the class's own bucket, and the name of the learned one. */
  readonly #evidence = new Map<string, Evidence>();
  readonly #maxBuckets: number;
  readonly #readRoute: ReadRoute;

  constructor(maxBuckets: number, readRoute: ReadRoute) {
    this.#maxBuckets = maxBuckets;
    this.#readRoute = readRoute;
  }

  /** The evidence of a class's own bucket, if there is any. */
  get(ownBucketId: string): Evidence | undefined {
    return this.#evidence.get(ownBucketId);
  }

  /** The evidence of a bucket of a class. */
  of(ownBucketId: string, bucket: string): Evidence {
    const id = bucket === '' ? ownBucketId : `${ownBucketId}/${bucket}`;
    let evidence = this.#evidence.get(id);
    if (evidence !== undefined) return evidence;
    for (const oldest of this.#evidence.keys()) {
      if (this.#evidence.size < this.#maxBuckets) break;
      this.#evidence.delete(oldest);
    }
    evidence = {
      limits: undefined,
      counts: new CountEvidence(),
      refusals: new RefusalEvidence(this.#readRoute),
      siblings: undefined,
      countsBlockedUntil: Number.NEGATIVE_INFINITY,
      differed: false,
      lastMethod: '',
      lastPath: '',
    };
    this.#evidence.set(id, evidence);
    return evidence;
  }

  /**
   * Learns from an answer with one report. Returns whether that is surely one of its bucket.
   * `isCompared`: its count was compared to that of the answer before.
   */
  study(studied: Studied, isCompared: boolean): boolean {
    const finding = this.#studyLimit(studied);
    if (finding !== 'same') return finding !== 'undecided';
    const { exchange, evidence } = studied;
    this.#studyCounts(studied, isCompared);
    remember(evidence, exchange);
    return true;
  }

  #studyLimit(studied: Studied): 'same' | 'undecided' | 'learned' {
    const { exchange, lessons, route, counter, report, evidence } = studied;
    const { ownBucketId, grantedAt, receivedAt } = exchange;
    const { limit } = report;
    if (limit === undefined) return 'same';
    evidence.limits ??= new LimitEvidence(limit);
    const { template } = route;
    if (receivedAt - route.doubtedAt > HOUR_MS) route.doubts = 0;
    if (route.lesson?.why === 'limit') {
      const parent = this.of(ownBucketId, lessons.bucketOf(counter.key)).limits?.limit;
      if (parent !== undefined && parent !== limit) {
        evidence.differed = true;
        route.sameLimit = 0;
      } else if (evidence.differed && ++route.sameLimit >= SAME_LIMITS) {
        lessons.forget(route, receivedAt);
        doubt(route, receivedAt);
        return 'learned';
      }
    }
    const { lastMethod, lastPath } = evidence;
    const { finding, isContradiction } = evidence.limits.add(
      { template, limit, grantedAt, receivedAt },
      () => this.#readRoute(lastMethod, lastPath).template,
      route.doubts,
    );
    if (isContradiction) doubt(route, receivedAt);
    if (finding === 'changed') return 'learned';
    if (finding !== 'split') return finding;
    const bucket = bucketWithin(lessons.bucketOf(counter.key), String(limit));
    lessons.setLesson(route, [{ bucket, key: counter.key }], 'limit', receivedAt);
    return 'learned';
  }

  #studyCounts(studied: Studied, isCompared: boolean): void {
    const { exchange, lessons, route, id, counter, report, evidence } = studied;
    const { ownBucketId, grantedAt, receivedAt } = exchange;
    const { remaining, reset } = report;
    if (remaining === undefined || reset === undefined) return;
    if (lessons.perId.has(counter.bucket)) {
      evidence.siblings ??= new SiblingEvidence();
      if (!evidence.siblings.add(id, remaining, grantedAt, receivedAt)) return;
      lessons.perId.delete(counter.bucket);
      forgetCounts(lessons, evidence, ({ bucket }) => bucket === counter.bucket, receivedAt);
      return;
    }
    const parentBucket = lessons.bucketOf(counter.key);
    const parent = this.of(ownBucketId, parentBucket);
    if (route.lesson?.why === 'counts') parent.siblings ??= new SiblingEvidence();
    if (parent.siblings?.add(counter.bucket, remaining, grantedAt, receivedAt) === true) {
      forgetCounts(lessons, parent, ({ key }) => key === counter.key, receivedAt);
      return;
    }
    const { counts } = evidence;
    if (!isCompared) counts.isOdd(remaining, reset, grantedAt, receivedAt);
    if (!counts.isWatching) return;
    const { template } = route;
    const finding = counts.add({ template, id }, { remaining, reset, grantedAt, receivedAt });
    const blockedUntil = Math.max(parent.countsBlockedUntil, evidence.countsBlockedUntil);
    if (finding === 'nothing' || receivedAt < blockedUntil) return;
    if (finding === 'split-ids' && counter.bucket !== '') {
      lessons.addPerId(counter.bucket);
      return;
    }
    const isNamed = finding === 'split-ids' && counter.key !== '';
    const bucket = isNamed ? bucketName(counter.key) : bucketWithin(parentBucket, template);
    if (finding === 'split-ids') lessons.addPerId(bucket);
    lessons.setLesson(route, [{ bucket, key: counter.key }], 'counts', receivedAt);
  }
}

/** Whether an answer with the bucket's name and limit can be left out, unless its count is odd. */
export function isQuiet({ limits, counts, siblings }: Evidence): boolean {
  return limits?.isQuiet !== false && !counts.isWatching && siblings === undefined;
}

/** Remembers a request whose answer reported the bucket's limit. A very long path is not kept. */
export function remember(evidence: Evidence, { method, path }: Exchange): void {
  evidence.lastMethod = method;
  evidence.lastPath = path.length > MAX_PATH ? '' : path;
}

/** Whether the count of an answer has to be studied. */
export function isOdd(
  { counts }: Evidence,
  { remaining, reset }: ReportedBudget,
  { costsOne, grantedAt, receivedAt }: Exchange,
): boolean {
  if (remaining === undefined || reset === undefined || !costsOne) return false;
  return counts.isOdd(remaining, reset, grantedAt, receivedAt);
}

/** Ends lessons from counts that were wrong, and prevents them for an hour. */
function forgetCounts(
  lessons: ClassLessons,
  evidence: Evidence,
  isWrong: (counter: Counter) => boolean,
  now: number,
): void {
  evidence.siblings = undefined;
  evidence.countsBlockedUntil = now + HOUR_MS;
  const isLessonWrong = ({ why, counters }: RouteLesson): boolean =>
    why === 'counts' && counters.some(isWrong);
  lessons.forgetWhere(isLessonWrong, now);
}

function doubt(route: Route, now: number): void {
  route.doubts = Math.min(route.doubts + 1, MAX_DOUBTS);
  route.doubtedAt = now;
}

/** The name of a bucket within another one. */
function bucketWithin(parent: string, name: string): string {
  return parent === '' ? bucketName(name) : bucketName(`${parent}.${name}`);
}
