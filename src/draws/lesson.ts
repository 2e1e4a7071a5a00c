/** One bucket on which a request draws. */
export interface LearnedDraw {
  /**
   * What follows the id of the class's own bucket, after a `~`; empty for the class's own bucket.
   */
  readonly name: string;
}

/** Why a bucket is known to be one: see learned-draws.ts. */
export type LessonReason = 'named' | 'limit' | 'counts' | 'refused';

export const LESSON_REASONS: readonly LessonReason[] = ['named', 'limit', 'counts', 'refused'];

/** What is known of one counter of the API. */
export interface LearnedCounter {
  /** The bucket that stands for it; empty for the class's own bucket. */
  readonly bucket: string;
  /** The API's name for it; empty if it has none. */
  readonly key: string;
  /** Whether the API has such a counter for each id in the path. */
  readonly perId: boolean;
}

/**
 * What was learned of one route, or of all routes of a class without a lesson of their own. It can be
 * stored and sent as JSON. Times are durations, because replicas have different clocks.
 */
export interface Lesson {
  readonly class: string;
  /** The route's template; absent in the lesson of a whole class. */
  readonly route?: string;
  /** The counters on which a request draws, in the order in which they are acquired. */
  readonly counters: readonly LearnedCounter[];
  readonly why: LessonReason;
  readonly learnedMsAgo: number;
  readonly confirmedMsAgo: number;
}

/** More counters than one request draws on. */
export const MAX_DRAWS = 16;
const MAX_NAME = 48;
/** Longer than any name that {@link bucketName} makes of two others. */
const MAX_BUCKET = 2 * MAX_NAME + 1;
const MAX_TEXT = 256;

/**
 * Returns the name of a bucket for what the API or a route is called. Different texts have different
 * names: one that was cut, or that had other characters than letters, digits and `._-`, ends with a
 * hash.
 */
export function bucketName(text: string): string {
  const plain = text.replaceAll(/[^A-Za-z0-9._-]+/g, '_').slice(0, MAX_NAME - 9);
  if (plain === text) return text;
  // FNV-1a.
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  }
  return `${plain}~${(hash >>> 0).toString(16).padStart(8, '0')}`;
}

/** Orders counters the same way at every replica: the class's own bucket, then by name. */
export function byBucket(
  one: { readonly bucket: string },
  other: { readonly bucket: string },
): number {
  return one.bucket < other.bucket ? -1 : Number(one.bucket > other.bucket);
}

/** Reads one lesson of another process; `undefined` if any of it is not as expected. */
export function readLesson(value: unknown): Lesson | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const entry: Readonly<Record<string, unknown>> = { ...value };
  const { class: className, route, counters, learnedMsAgo, confirmedMsAgo } = entry;
  const why = LESSON_REASONS.find((reason) => reason === entry['why']);
  if (!isText(className) || className === '' || why === undefined) return undefined;
  if (route !== undefined && !isText(route)) return undefined;
  if (!isDuration(learnedMsAgo) || !isDuration(confirmedMsAgo)) return undefined;
  if (!Array.isArray(counters) || counters.length === 0 || counters.length > MAX_DRAWS) {
    return undefined;
  }
  const read: LearnedCounter[] = [];
  for (const counter of counters) {
    const one = readCounter(counter);
    if (one === undefined || read.some(({ bucket }) => bucket === one.bucket)) return undefined;
    read.push(one);
  }
  return {
    class: className,
    ...(route === undefined ? {} : { route }),
    counters: read.toSorted(byBucket),
    why,
    learnedMsAgo,
    confirmedMsAgo,
  };
}

function readCounter(value: unknown): LearnedCounter | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { bucket, key, perId }: Readonly<Record<string, unknown>> = { ...value };
  if (!isText(bucket) || !isText(key) || typeof perId !== 'boolean') return undefined;
  if (bucket.length > MAX_BUCKET || !/^[A-Za-z0-9._~-]*$/.test(bucket)) return undefined;
  return { bucket, key, perId };
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= MAX_TEXT;
}

function isDuration(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && Number.isFinite(value);
}
