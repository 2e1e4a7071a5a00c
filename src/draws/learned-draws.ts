import type { ReportedBudget } from '../rate-headers/budget-groups.ts';
import { moreBinding } from '../rate-headers/rate-headers.ts';
import {
  attributed,
  attributedByPosition,
  FIRST_REPORT,
  keysOf,
  NO_OTHERS,
  UNREPORTED,
  type Attribution,
  type Exchange,
  type OtherBucket,
} from './attribution.ts';
import { EvidenceTable, isOdd, isQuiet, remember } from './bucket-evidence.ts';
import { ClassLessons } from './class-lessons.ts';
import { bucketName, readLesson, type LearnedDraw, type Lesson } from './lesson.ts';
import { routeTemplate, type ReadRoute } from './route-template.ts';

/** How much is kept: see the defaults in {@link LearnedDraws}. */
export interface LearnedDrawsBounds {
  readonly maxClasses?: number;
  readonly maxRoutes?: number;
  readonly maxBuckets?: number;
}

export interface LearnedDrawsOptions extends LearnedDrawsBounds {
  /** Hides the secret parts of a path: routes are shown, sent to Redis, and part of buckets' names. */
  readonly maskPath?: (path: string) => string;
}

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DROPPED_AFTER_MS = 7 * 24 * HOUR_MS;

/**
 * Learns from an API's answers which of its counters a request spends from, so that each has a bucket.
 * Lessons are about the API. They hold for all its credentials, and for routes: see
 * {@link routeTemplate}. They split what the configuration says to be one class, and never merge two.
 *
 * A lesson has one of four reasons:
 *
 * - `named`: the API names its buckets, or reports several in one answer. One answer is enough.
 * - `limit`: the route reports another limit than other routes (limit-evidence.ts).
 * - `counts`: what is reported cannot be one counter (count-evidence.ts).
 * - `refused`: the API refuses one route only, by a limit that it does not report
 *   (refusal-evidence.ts). The route draws on a bucket for it, beside those that are reported.
 *
 * Limits and counts are read from answers with one report, that neither throttle nor fail, to requests
 * that cost one operation. Reports of one bucket by two names, and orders of headers, do not matter.
 *
 * Answers that contradict a lesson end it, and it ends after seven days without an answer that confirms
 * it. A lesson from counts or refusals that was wrong is not tried again for an hour.
 *
 * Everything kept is bounded. Beyond the bounds the oldest is forgotten, and learned anew.
 */
export class LearnedDraws {
  readonly #classes = new Map<string, ClassLessons>();
  readonly #evidence: EvidenceTable;
  readonly #maxClasses: number;
  readonly #maxRoutes: number;
  readonly #readRoute: ReadRoute;
  #sweptAt = Number.NEGATIVE_INFINITY;
  #keptClasses: ReadonlySet<string> | undefined;

  constructor(options: LearnedDrawsOptions = {}) {
    const { maxClasses = 64, maxRoutes = 1000, maxBuckets = 2000 } = options;
    const { maskPath = (path: string) => path } = options;
    this.#maxClasses = maxClasses;
    this.#maxRoutes = maxRoutes;
    this.#readRoute = (method, path) => routeTemplate(method, maskPath(path));
    this.#evidence = new EvidenceTable(maxBuckets, this.#readRoute);
  }

  /**
   * The buckets on which a request draws, in the order in which they are acquired; `undefined` for the
   * class's own bucket alone. Allocates nothing while nothing was learned of the class.
   */
  drawsOf(className: string, method: string, path: string): readonly LearnedDraw[] | undefined {
    const lessons = this.#classes.get(className);
    if (lessons === undefined || !lessons.isLearned) return undefined;
    if (lessons.routesWithLesson === 0 && lessons.perId.size === 0) return lessons.base?.draws;
    const { template, id } = this.#readRoute(method, path);
    const lesson = lessons.lessonOf(template);
    if (lesson === undefined || lessons.perId.size === 0) return lesson?.draws;
    return lesson.draws.map(({ name }) => ({ name: nameFor(lessons, name, id) }));
  }

  /** How often the draws of any route of a class have changed. */
  changesOf(className: string): number {
    return this.#classes.get(className)?.changes ?? 0;
  }

  /** Learns from an answer, and returns which buckets its reports belong to. */
  learn(exchange: Exchange): Attribution {
    const { className, ownBucketId, reports } = exchange;
    const lessons = this.#classes.get(className);
    const evidence = this.#evidence.get(ownBucketId);
    if (exchange.receivedAt - this.#sweptAt >= HOUR_MS) this.#sweep(exchange.receivedAt);
    const [report] = reports;
    if (report === undefined) return this.#unreported(lessons, exchange);
    if (evidence?.refusals.isWatching === true && exchange.refusal === undefined) {
      const { method, path, grantedAt, receivedAt } = exchange;
      evidence.refusals.accepted(method, path, grantedAt, receivedAt);
    }
    const mustStudy = lessons === undefined || exchange.refusal !== undefined;
    if (mustStudy) return this.#study(exchange, false);
    if (exchange.draws !== undefined) return this.#learnDrawn(lessons, exchange, exchange.draws);
    const isOrdinary =
      evidence !== undefined &&
      reports.length === 1 &&
      (report.name ?? '') === lessons.ownKey &&
      report.limit === evidence.limits?.limit &&
      isQuiet(evidence);
    if (!isOrdinary) return this.#study(exchange, false);
    remember(evidence, exchange);
    return isOdd(evidence, report, exchange) ? this.#study(exchange, true) : FIRST_REPORT;
  }

  /** Learns from an answer to a request that drew on learned buckets. */
  #learnDrawn(
    lessons: ClassLessons,
    exchange: Exchange,
    draws: readonly LearnedDraw[],
  ): Attribution {
    const { ownBucketId, reports, receivedAt } = exchange;
    const route = lessons.routeByDraws.get(draws);
    const lesson = route === undefined ? lessons.base : route.lesson;
    // What the buckets were may have been forgotten since.
    if (lesson?.draws !== draws) return this.#study(exchange, false);
    const { counters } = lesson;
    const isInOrder =
      reports.length === counters.length &&
      counters.every(({ key }, at) => key === (reports[at]?.name ?? ''));
    if (!isInOrder || lesson.why === 'limit') return this.#study(exchange, false);
    lesson.confirmedAt = receivedAt;
    const [counter] = counters;
    const [report] = reports;
    if (counters.length > 1 || counter === undefined || report === undefined) return lesson.inOrder;
    const evidence = this.#evidence.of(ownBucketId, counter.bucket);
    if (report.limit !== evidence.limits?.limit || !isQuiet(evidence) || lesson.why === 'counts') {
      return this.#study(exchange, false);
    }
    remember(evidence, exchange);
    return isOdd(evidence, report, exchange) ? this.#study(exchange, true) : FIRST_REPORT;
  }

  /**
   * Forgets what was learned of other classes than these, and ignores it from other processes. A reload
   * can rename classes.
   */
  keepOnly(classNames: ReadonlySet<string>): void {
    this.#keptClasses = classNames;
    for (const name of this.#classes.keys()) if (!classNames.has(name)) this.#classes.delete(name);
  }

  /** All that was learned, as JSON: for operators, other replicas, and the next start. */
  lessons(now: number): Lesson[] {
    return [...this.#classes.values()].flatMap((lessons) => lessons.toJson(now));
  }

  /**
   * Adds what another process learned. Of two lessons on one route the later one counts; of two on a
   * whole class the earlier one, because its own bucket must stay the same. What is not a lesson is
   * ignored. Returns how many entries that were.
   */
  apply(entries: readonly unknown[], now: number): number {
    const lessons = entries.map(readLesson).filter((lesson) => lesson !== undefined);
    // What the lessons on routes mean depends on those on classes.
    const rank = ({ route }: Lesson): number => (route === undefined ? 0 : 1);
    for (const lesson of lessons.toSorted((one, other) => rank(one) - rank(other))) {
      if (lesson.confirmedMsAgo < DROPPED_AFTER_MS) this.#apply(lesson, now);
    }
    return entries.length - lessons.length;
  }

  #apply(lesson: Lesson, now: number): void {
    if (this.#keptClasses?.has(lesson.class) === false) return;
    const lessons = this.#lessonsOf(lesson.class);
    if (lessons === undefined) return;
    const learnedAt = now - lesson.learnedMsAgo;
    const confirmedAt = now - lesson.confirmedMsAgo;
    const { counters, route: template } = lesson;
    if (template === undefined) {
      const own = counters.find(({ bucket }) => bucket === '');
      if (own === undefined) return;
      if (lessons.base !== undefined && !isEarlier(learnedAt, own.key, lessons)) return;
      // What the own bucket stands for changes, and with it what the lessons of routes mean.
      if (lessons.ownKey !== undefined && lessons.ownKey !== own.key) {
        lessons.forgetWhere(({ why }) => why === 'named');
      }
      const others = counters.filter((one) => one !== own).map(({ key }) => key);
      lessons.setBase([own.key, ...others], learnedAt, confirmedAt);
    } else {
      const route = lessons.routeOf(template, this.#maxRoutes);
      if (learnedAt <= route.contradictedAt) return;
      if (now < lessons.refusalsBlockedUntil && lesson.why === 'refused') return;
      const known = route.lesson;
      if (known !== undefined && known.learnedAt >= learnedAt) {
        known.confirmedAt = Math.max(known.confirmedAt, confirmedAt);
        return;
      }
      lessons.adopt(route, counters, lesson.why, learnedAt, confirmedAt);
    }
    for (const { bucket, perId } of counters) {
      if (perId && bucket !== '') lessons.addPerId(bucket);
    }
  }

  /** An answer without any numbers. */
  #unreported(lessons: ClassLessons | undefined, exchange: Exchange): Attribution {
    const { className, ownBucketId, method, path, draws, refusal } = exchange;
    if (refusal !== undefined) {
      const ofClass = lessons ?? this.#lessonsOf(className);
      if (ofClass !== undefined) return this.#refused(ofClass, exchange);
    }
    // If the API reports numbers elsewhere, an accepted request without them shows nothing.
    if (refusal === undefined && lessons?.ownKey === undefined && exchange.status < 400) {
      const { refusals } = this.#evidence.of(ownBucketId, '');
      refusals.accepted(method, path, exchange.grantedAt, exchange.receivedAt);
    }
    if (draws === undefined) return UNREPORTED;
    return { drawn: draws.map(() => 'unreported' as const), others: NO_OTHERS };
  }

  /** A refusal without any numbers. */
  #refused(lessons: ClassLessons, exchange: Exchange): Attribution {
    const { template, id } = this.#readRoute(exchange.method, exchange.path);
    const refusing = this.#studyRefusal(lessons, template, exchange);
    const counters = lessons.countersAt(template);
    const targets = counters.map(({ bucket }) => ({ name: nameFor(lessons, bucket, id) }));
    const found = attributed(exchange.draws, targets);
    return refusing === undefined ? found : { ...found, refusing };
  }

  /**
   * Learns from a refusal by a limit that no answer reports. Returns the bucket that refused, if the
   * limit is the route's alone.
   */
  #studyRefusal(
    lessons: ClassLessons,
    template: string,
    { ownBucketId, method, path, refusal, receivedAt }: Exchange,
  ): string | undefined {
    if (refusal === undefined) return undefined;
    const { refusals, lastMethod, lastPath } = this.#evidence.of(ownBucketId, '');
    refusals.saw(lastMethod, lastPath, receivedAt);
    // Beside a reported limit, one refusal may be of that limit after all.
    const isDoubtful = lessons.ownKey !== undefined && !lessons.isRefusedAlone(template);
    const refused = { ...refusal, receivedAt, isDoubtful };
    const finding = refusals.refused(method, path, template, refused);
    if (finding === 'never-alone') {
      lessons.refusalsBlockedUntil = receivedAt + HOUR_MS;
      lessons.forgetWhere(({ why }) => why === 'refused', receivedAt);
    }
    if (finding !== 'route' || receivedAt < lessons.refusalsBlockedUntil) return undefined;
    return lessons.setRefused(lessons.routeOf(template, this.#maxRoutes), receivedAt);
  }

  /**
   * Learns from an answer that is not known to be an ordinary one. `isCompared`: its count was compared
   * to that of the answer before.
   */
  #study(exchange: Exchange, isCompared: boolean): Attribution {
    const { className, ownBucketId, method, path, reports, refusal, receivedAt } = exchange;
    const lessons = this.#lessonsOf(className);
    if (lessons === undefined) return attributedByPosition(exchange);
    const keys = keysOf(reports);
    const distinct = [...new Set(keys)];
    const { template, id } = this.#readRoute(method, path);
    if (lessons.ownKey === undefined) {
      // Until now the API reported nothing. Lessons from refusals stay, and get names.
      // Requests that wait for the class's own bucket are bound by the scarcest of them.
      const scarcest = keys[reports.indexOf(reports.reduce(moreBinding))] ?? '';
      lessons.setBase([...new Set([scarcest, ...distinct])], receivedAt);
    }
    const route = lessons.routeOf(template, this.#maxRoutes);
    lessons.learnNames(route, distinct, refusal !== undefined, receivedAt);
    const isSingle = distinct.length === 1;
    const before = lessons.countersOf(route);
    const [counter] = before;
    const [report] = reports;
    let isOwnReport = true;
    if (isSingle && before.length === 1 && counter !== undefined && report !== undefined) {
      const isEvidence = refusal === undefined && exchange.status < 400 && exchange.costsOne;
      if (isEvidence) {
        const evidence = this.#evidence.of(ownBucketId, counter.bucket);
        const studied = { exchange, report, lessons, route, id, counter, evidence };
        isOwnReport = this.#evidence.study(studied, isCompared);
      }
    }
    const isByOther = exchange.costsOne && reports.every(hasMuchLeft);
    const refusing = isByOther ? this.#studyRefusal(lessons, template, exchange) : undefined;
    const targets = lessons.countersOf(route).map(({ bucket, key }): OtherBucket => {
      const name = nameFor(lessons, bucket, id);
      const reportAt = keys.indexOf(key);
      return reportAt === -1 || !isOwnReport ? { name } : { name, reportAt };
    });
    // If no draw has a report by its name, the first report is that of what the request drew on.
    const isNameless = targets.every(({ reportAt }) => reportAt === undefined);
    const found = attributed(
      exchange.draws,
      isNameless && isOwnReport ? targets.map(withFirstReport) : targets,
    );
    return refusing === undefined ? found : { ...found, refusing };
  }

  #sweep(now: number): void {
    this.#sweptAt = now;
    for (const lessons of this.#classes.values()) {
      lessons.forgetWhere(({ confirmedAt }) => now - confirmedAt > DROPPED_AFTER_MS);
    }
  }

  #lessonsOf(className: string): ClassLessons | undefined {
    let lessons = this.#classes.get(className);
    if (lessons !== undefined || this.#classes.size >= this.#maxClasses) return lessons;
    lessons = new ClassLessons(className);
    this.#classes.set(className, lessons);
    return lessons;
  }
}

/**
 * Whether another process's lesson on a class counts and not ours. Times of different processes are not
 * exact, so the name decides between two of the same minute, the same way everywhere.
 */
function isEarlier(
  learnedAt: number,
  key: string,
  { base, ownKey: own = '' }: ClassLessons,
): boolean {
  const earlierByMs = (base?.learnedAt ?? Number.POSITIVE_INFINITY) - learnedAt;
  return Math.abs(earlierByMs) > MINUTE_MS ? earlierByMs > 0 : key < own;
}

/** The bucket of a counter for a request: one per id where the API counts so. */
function nameFor({ perId }: ClassLessons, bucket: string, id: string): string {
  return id !== '' && perId.has(bucket) ? `${bucket}/${bucketName(id)}` : bucket;
}

/** Whether a report shows that its counter refuses nothing, also if a request costs more than was thought. */
function hasMuchLeft({ remaining = 0, limit = remaining }: ReportedBudget): boolean {
  return remaining > 0 && remaining >= limit / 2;
}

function withFirstReport({ name }: OtherBucket, at: number): OtherBucket {
  return at === 0 ? { name, reportAt: 0 } : { name };
}

/** Learns nothing: the scarcest of an answer's reports is the class's own bucket's. */
export const withoutLessons: Pick<LearnedDraws, 'drawsOf' | 'learn' | 'changesOf'> = {
  drawsOf: () => undefined,
  changesOf: () => 0,
  learn({ reports }) {
    const [first] = reports;
    if (first === undefined) return UNREPORTED;
    return { drawn: [reports.indexOf(reports.reduce(moreBinding, first))], others: NO_OTHERS };
  },
};
