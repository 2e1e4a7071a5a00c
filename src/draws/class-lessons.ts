import { NO_OTHERS } from './attribution.ts';
import { bucketName, byBucket, MAX_DRAWS } from './lesson.ts';
import type { LearnedDraw, Lesson, LessonReason } from './lesson.ts';
import { newRoute, type Counter, type Route, type RouteLesson } from './route.ts';

/** More names of buckets than one class has. */
const MAX_NAMES = 256;
const MAX_FORMER = 4;
/** A route that brings more new names an hour has names for something else than buckets. */
const MAX_NEW_NAMES = 4;
/** How many routes are looked at to find one that can be forgotten without loss. */
const MAX_LOOKED = 16;
const HOUR_MS = 3_600_000;
/**
 * How many answers in a row without a name, or with fewer names, contradict a lesson. `never`: of a route
 * that has never reported them all.
 */
const CONTRADICTIONS = { unnamed: 8, fewer: 32, never: 3 };
/** What the counter without a name is called where it is not the class's own bucket. */
const UNNAMED = 'requests';

/**
 * What was learned of the routes of one class, and what follows from the names in their answers.
 *
 * The class's own bucket stands for the first counter that an answer of the class reported. If that
 * answer reported several, all routes draw on them unless their own answers report others.
 */
export class ClassLessons {
  readonly name: string;
  readonly routes = new Map<string, Route>();
  /** The buckets that stand for one counter per id. */
  readonly perId = new Set<string>();
  /** The API's name of the class's own bucket; `undefined` before the first report. */
  ownKey: string | undefined;
  /** On what a route without a lesson draws. */
  base: RouteLesson | undefined;
  /** How many routes have a lesson. */
  routesWithLesson = 0;
  /** How often the draws of some route have changed. */
  changes = 0;
  /** The route whose lesson has these draws, so that its path need not be read again. */
  readonly routeByDraws = new WeakMap<readonly LearnedDraw[], Route>();
  /** Until when refusals are believed to concern the whole class. */
  refusalsBlockedUntil = 0;
  readonly #names = new Set<string>();
  /** Whether the counter without a name is another one than the class's own bucket. */
  #isUnnamedApart = false;
  /** When names that no lesson has any more were last forgotten. */
  #namesReadAt = Number.NEGATIVE_INFINITY;

  constructor(name: string) {
    this.name = name;
  }

  /** Whether a route may draw on anything else than the class's own bucket alone. */
  get isLearned(): boolean {
    return this.routesWithLesson > 0 || (this.base !== undefined && this.base.counters.length > 1);
  }

  /** What a request to the route draws on; `undefined` for the class's own bucket alone. */
  lessonOf(template: string): RouteLesson | undefined {
    const lesson = this.routes.get(template)?.lesson ?? this.base;
    return lesson === undefined || isOwn(lesson.counters) ? undefined : lesson;
  }

  countersOf(route: Route): readonly Counter[] {
    return route.lesson?.counters ?? this.base?.counters ?? OWN;
  }

  /** The bucket of the counter that the API calls `key`. */
  bucketOf(key: string): string {
    if (key === this.ownKey) return '';
    if (key === '') return this.#isUnnamedApart ? UNNAMED : '';
    return bucketName(key);
  }

  /** The API counts per id what `bucket` stands for. */
  addPerId(bucket: string): void {
    if (this.perId.has(bucket) || this.perId.size >= MAX_NAMES) return;
    this.perId.add(bucket);
    this.changes++;
  }

  /** What is known of a route. Beyond `maxRoutes`, one of the oldest is forgotten. */
  routeOf(template: string, maxRoutes: number): Route {
    let route = this.routes.get(template);
    if (route === undefined) {
      if (this.routes.size >= maxRoutes) this.#dropRoute();
      route = newRoute(template);
      this.routes.set(template, route);
    }
    return route;
  }

  setBase(keys: readonly string[], learnedAt: number, confirmedAt = learnedAt): void {
    this.ownKey = keys[0] ?? '';
    this.changes++;
    this.#isUnnamedApart = false;
    this.#addNames(keys);
    this.base = this.#lesson(this.#counters(keys), 'named', learnedAt, confirmedAt);
  }

  setLesson(
    route: Route,
    counters: readonly Counter[],
    why: LessonReason,
    learnedAt: number,
    confirmedAt = learnedAt,
  ): void {
    if (route.lesson === undefined) this.routesWithLesson++;
    this.changes++;
    route.lesson = this.#lesson(counters, why, learnedAt, confirmedAt);
    this.routeByDraws.set(route.lesson.draws, route);
    this.#addNames(counters.map(({ key }) => key));
    route.fewer = 0;
    route.sameLimit = 0;
  }

  /**
   * Sets a lesson of another process. The class's own bucket may stand for another name there, so
   * buckets are named anew.
   */
  adopt(
    route: Route,
    counters: readonly Counter[],
    why: LessonReason,
    learnedAt: number,
    confirmedAt: number,
  ): void {
    const named =
      why === 'named'
        ? this.#counters(counters.map(({ key }) => key))
        : counters.map(({ bucket, key }) => ({ bucket, key }));
    if (!this.#isBase(named)) this.setLesson(route, named, why, learnedAt, confirmedAt);
  }

  /** Forgets the lesson on a route; with a time, because answers contradicted it then. */
  forget(route: Route, contradictedAt = Number.NEGATIVE_INFINITY): void {
    route.contradictedAt = Math.max(route.contradictedAt, contradictedAt);
    if (route.lesson !== undefined) {
      this.routesWithLesson--;
      this.changes++;
    }
    route.lesson = undefined;
    route.fewer = 0;
    route.sameLimit = 0;
  }

  /** Forgets the lessons that `isWrong` selects: see {@link forget}. */
  forgetWhere(isWrong: (lesson: RouteLesson) => boolean, contradictedAt?: number): void {
    for (const route of this.routes.values()) {
      if (route.lesson === undefined || !isWrong(route.lesson)) continue;
      this.forget(route, contradictedAt);
    }
  }

  /** As {@link countersOf}, for a route of which nothing may be known. */
  countersAt(template: string): readonly Counter[] {
    return this.routes.get(template)?.lesson?.counters ?? this.base?.counters ?? OWN;
  }

  /** Whether it was learned that refusals concern a route alone. */
  isRefusedAlone(template: string): boolean {
    return this.routes.get(template)?.lesson?.why === 'refused';
  }

  /**
   * Learns that refusals concern the route alone, by a limit that no answer reports. Returns the bucket
   * of that limit; `undefined` if the route draws on too many others.
   */
  setRefused(route: Route, now: number): string | undefined {
    const bucket = bucketName(route.template);
    const { lesson } = route;
    if (lesson !== undefined && lesson.counters.some((one) => one.bucket === bucket)) {
      lesson.confirmedAt = now;
      return bucket;
    }
    // Where the API reports nothing, that limit is the only one.
    const counters =
      this.ownKey === undefined
        ? [{ bucket, key: '' }]
        : [...this.countersOf(route), { bucket, key: route.template }];
    if (counters.length > MAX_DRAWS) return undefined;
    this.setLesson(route, counters, 'refused', now);
    return bucket;
  }

  /** Reads the names in an answer; `keys` are those of its counters, without repetition. */
  learnNames(route: Route, keys: readonly string[], isThrottled: boolean, now: number): void {
    const known = new Set(this.#namesOf(route));
    const fresh = keys.filter((key) => !known.has(key));
    if (fresh.length === 0 && keys.length === known.size) {
      route.isWhole = true;
      route.fewer = 0;
      if (route.lesson !== undefined) route.lesson.confirmedAt = now;
      return;
    }
    const isUnnamed = keys.length === 1 && keys[0] === '';
    if (!isUnnamed && fresh.length > 0) {
      this.#learnNewNames(route, keys, fresh, now);
      return;
    }
    // A refusal may report nothing but the limit that refused.
    if (!isThrottled) this.#learnFewerNames(route, keys, isUnnamed && fresh.length > 0, now);
  }

  /** The names of the route's counters that answers report: not of one that has the route's name. */
  #namesOf(route: Route): string[] {
    return this.countersOf(route)
      .map(({ key }) => key)
      .filter((key) => key !== route.template);
  }

  /** Learns from an answer without a name (`isUnnamed`), or with some of the known names only. */
  #learnFewerNames(route: Route, keys: readonly string[], isUnnamed: boolean, now: number): void {
    const names = keys.join(' ');
    route.fewer = names === route.fewerKeys ? route.fewer + 1 : 1;
    route.fewerKeys = names;
    if (!isUnnamed) {
      const most = route.isWhole ? CONTRADICTIONS.fewer : CONTRADICTIONS.never;
      if (route.fewer >= most) this.#draw(route, keys, now);
    } else if (route.lesson?.why === 'named' && route.fewer >= CONTRADICTIONS.unnamed) {
      this.forget(route, now);
    }
  }

  /**
   * Learns from an answer with names that the route did not have, `fresh`. They replace the known names.
   * The route draws on both if the answer has some of the known names too, or if a former name returns.
   */
  #learnNewNames(
    route: Route,
    keys: readonly string[],
    fresh: readonly string[],
    now: number,
  ): void {
    if (now < route.namesBlockedUntil || !this.#takesNames(route, fresh, now)) return;
    const counters = this.countersOf(route);
    const known = new Set(this.#namesOf(route));
    const overlaps = fresh.length < keys.length;
    const returns = fresh.some((key) => route.former.includes(key));
    const next = overlaps || returns ? [...new Set([...known, ...keys])] : keys;
    for (const key of known) {
      if (next.includes(key) || route.former.includes(key)) continue;
      route.former.push(key);
      if (route.former.length > MAX_FORMER) route.former.shift();
    }
    // The API renamed a counter of which it has one for each id.
    const wasPerId = counters.some(({ bucket }) => this.perId.has(bucket));
    if (wasPerId) for (const key of fresh) if (key !== this.ownKey) this.addPerId(bucketName(key));
    route.isWhole = true;
    this.#draw(route, next.slice(0, MAX_DRAWS), now);
  }

  /** All that was learned, as it is sent and stored. */
  toJson(now: number): Lesson[] {
    const entries: Lesson[] = [];
    const add = (lesson: RouteLesson | undefined, route?: string): void => {
      if (lesson === undefined) return;
      entries.push({
        class: this.name,
        ...(route === undefined ? {} : { route }),
        counters: lesson.counters.map((one) => ({ ...one, perId: this.perId.has(one.bucket) })),
        why: lesson.why,
        learnedMsAgo: Math.max(0, now - lesson.learnedAt),
        confirmedMsAgo: Math.max(0, now - lesson.confirmedAt),
      });
    };
    add(this.base);
    for (const { template, lesson } of this.routes.values()) add(lesson, template);
    return entries;
  }

  #draw(route: Route, keys: readonly string[], now: number): void {
    const counters = this.#counters(keys);
    if (this.#isBase(counters)) this.forget(route, now);
    else this.setLesson(route, counters, 'named', now);
  }

  #isBase(counters: readonly Counter[]): boolean {
    const base = this.base?.counters ?? [];
    return (
      counters.length === base.length &&
      counters.every(({ bucket }) => base.some((one) => one.bucket === bucket))
    );
  }

  /** Whether new names are names of buckets; if there are too many of them, they are not. */
  #takesNames(route: Route, fresh: readonly string[], now: number): boolean {
    const unknown = fresh.filter((key) => !this.#names.has(key));
    if (this.#names.size + unknown.length > MAX_NAMES && now - this.#namesReadAt > HOUR_MS) {
      this.#namesReadAt = now;
      this.#forgetNames();
    }
    if (this.#names.size + unknown.length > MAX_NAMES) return false;
    if (now - route.newNamesSince > HOUR_MS) {
      route.newNames = 0;
      route.newNamesSince = now;
    }
    // An answer may report several at once.
    if (unknown.length > 0) route.newNames++;
    if (route.newNames > MAX_NEW_NAMES) {
      route.namesBlockedUntil = now + HOUR_MS;
      if (route.lesson?.why === 'named') this.forget(route, now);
      return false;
    }
    this.#addNames(unknown);
    return true;
  }

  /** Some APIs rename their buckets now and then. */
  #forgetNames(): void {
    const lessons = [this.base, ...[...this.routes.values()].map(({ lesson }) => lesson)];
    this.#names.clear();
    for (const lesson of lessons) this.#addNames(lesson?.counters.map(({ key }) => key) ?? []);
  }

  #addNames(keys: readonly string[]): void {
    for (const key of keys) if (this.#names.size < MAX_NAMES) this.#names.add(key);
  }

  /** Forgets a route: of the oldest ones, one of which nothing was learned. */
  #dropRoute(): void {
    let looked = 0;
    let dropped: Route | undefined;
    for (const route of this.routes.values()) {
      dropped ??= route;
      if (route.lesson === undefined) dropped = route;
      if (route.lesson === undefined || ++looked === MAX_LOOKED) break;
    }
    if (dropped === undefined) return;
    this.forget(dropped);
    this.routes.delete(dropped.template);
  }

  #counters(keys: readonly string[]): Counter[] {
    if (keys.length > 1 && keys.includes('') && this.ownKey !== '') this.#isUnnamedApart = true;
    return keys.map((key) => ({ bucket: this.bucketOf(key), key }));
  }

  #lesson(
    counters: readonly Counter[],
    why: LessonReason,
    learnedAt: number,
    confirmedAt: number,
  ): RouteLesson {
    const ordered = counters
      .filter(({ bucket }, at) => counters.findIndex((one) => one.bucket === bucket) === at)
      .toSorted((one, other) => {
        // A request holds what it has while it waits: what no other route needs comes first.
        const first = Number(isOfRoute(other)) - Number(isOfRoute(one));
        return first === 0 ? byBucket(one, other) : first;
      });
    const draws = ordered.map(({ bucket }) => ({ name: bucket }));
    const inOrder = { drawn: ordered.map((_, at) => at), others: NO_OTHERS };
    return { counters: ordered, draws, inOrder, why, learnedAt, confirmedAt };
  }
}

/** The class's own bucket alone, before its name is known. */
const OWN: readonly Counter[] = [{ bucket: '', key: '' }];

/** Whether a counter is a route's alone, of which it has the name: see {@link ClassLessons.setRefused}. */
function isOfRoute({ key }: Counter): boolean {
  return /^[A-Z]+ \//.test(key);
}

function isOwn(counters: readonly Counter[]): boolean {
  return counters.length === 1 && counters[0]?.bucket === '';
}
