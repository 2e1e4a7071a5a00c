import type { LearnedDraws } from '../../draws/learned-draws.ts';
import type { Lesson } from '../../draws/lesson.ts';
import type { Clock } from '../../util/clock.ts';
import { inTime } from './in-time.ts';
import type { RedisStore } from './redis/store.ts';

/** More lessons wait for the next exchange. */
const MAX_SENT = 100;
/** How often a lesson that answers go on to confirm is sent again, so that others keep it as well. */
const CONFIRM_MS = 3_600_000;

export interface SharedLessonsOptions {
  readonly store: Pick<RedisStore, 'lessons'>;
  readonly learned: Pick<LearnedDraws, 'lessons' | 'apply'>;
  readonly clock: Clock;
  /** A slower answer of Redis counts as a failure. */
  readonly timeoutMs: number;
}

/** What the replicas learned of an API's buckets, exchanged through Redis. It outlasts a restart. */
export class SharedLessons {
  readonly #options: SharedLessonsOptions;
  /** The lessons that Redis has, by what they are about. */
  #stored = new Map<string, string>();
  #revision = '';
  #isUnderWay = false;

  constructor(options: SharedLessonsOptions) {
    this.#options = options;
  }

  /** Sends what is new here, and adds what is new there. Rejects when Redis fails. */
  async exchange(): Promise<void> {
    if (this.#isUnderWay) return;
    this.#isUnderWay = true;
    try {
      await this.#exchange();
    } finally {
      this.#isUnderWay = false;
    }
  }

  async #exchange(): Promise<void> {
    const { store, learned, clock, timeoutMs } = this.#options;
    const now = clock.now();
    const all = learned.lessons(now).map((lesson) => ({ about: aboutOf(lesson), lesson }));
    const fresh = all
      .filter(({ about, lesson }) => this.#stored.get(about) !== contentOf(lesson, now))
      .slice(0, MAX_SENT);
    const sent = fresh.map(({ about, lesson }) => [about, JSON.stringify(lesson)] as const);
    const { revision, lessons } = await inTime(
      store.lessons(this.#revision, sent),
      timeoutMs,
      clock,
    );
    this.#revision = revision;
    learned.apply(lessons.map(aged), now);
    const unsent = new Set(all.map(({ about }) => about));
    for (const about of this.#stored.keys()) unsent.delete(about);
    for (const { about } of fresh) unsent.delete(about);
    // What this replica knows is bounded, and so is this.
    this.#stored = new Map(
      learned
        .lessons(now)
        .map((lesson): [string, string] => [aboutOf(lesson), contentOf(lesson, now)])
        .filter(([about]) => !unsent.has(about)),
    );
  }
}

function aboutOf({ class: className, route }: Lesson): string {
  return `${className} ${route ?? ''}`;
}

/** What of a lesson has to change for it to be sent again. */
function contentOf({ counters, why, confirmedMsAgo }: Lesson, now: number): string {
  return JSON.stringify([counters, why, Math.floor((now - confirmedMsAgo) / CONFIRM_MS)]);
}

/** A lesson with the time that it was stored; anything else is left for the reader to refuse. */
function aged({ text, ageMs }: { readonly text: string; readonly ageMs: number }): unknown {
  const lesson = parse(text);
  if (typeof lesson !== 'object' || lesson === null) return undefined;
  const older = (name: string): unknown => {
    const value: unknown = Reflect.get(lesson, name);
    return typeof value === 'number' ? value + ageMs : value;
  };
  return {
    ...lesson,
    learnedMsAgo: older('learnedMsAgo'),
    confirmedMsAgo: older('confirmedMsAgo'),
  };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Any client may write to the key; the lesson counts as none.
    return undefined;
  }
}
