import type { Attribution } from './attribution.ts';
import type { LearnedCounter, LearnedDraw, LessonReason } from './lesson.ts';

/** A counter and its bucket; whether it is one per id is known of the class. */
export type Counter = Omit<LearnedCounter, 'perId'>;

/** A lesson on one route, or on all routes of a class without one. Times are on `Clock.now`. */
export interface RouteLesson {
  /** In a fixed order, the same at every replica. */
  readonly counters: readonly Counter[];
  /** The buckets of the counters, in the same order. */
  readonly draws: readonly LearnedDraw[];
  /** What an answer means that reports the counters in this order. */
  readonly inOrder: Attribution;
  readonly why: LessonReason;
  readonly learnedAt: number;
  confirmedAt: number;
}

/** What is known of one route of a class. */
export interface Route {
  readonly template: string;
  lesson: RouteLesson | undefined;
  /** How often its answers contradicted what had been learned from their limits, lately. */
  doubts: number;
  doubtedAt: number;
  /** When answers last contradicted a lesson: what others learned before that is not adopted. */
  contradictedAt: number;
  namesBlockedUntil: number;
  /** Names that it reported before others. */
  readonly former: string[];
  /** How many new names it brought since a time. */
  newNames: number;
  newNamesSince: number;
  /** Whether an answer of its own reported all of its counters. */
  isWhole: boolean;
  /** How many answers in a row reported the same fewer names than it draws on, or no name. */
  fewer: number;
  fewerKeys: string;
  /** How many answers in a row reported the limit of the bucket from which it was split. */
  sameLimit: number;
}

/** A route of which nothing is known. */
export function newRoute(template: string): Route {
  return {
    template,
    lesson: undefined,
    doubts: 0,
    doubtedAt: Number.NEGATIVE_INFINITY,
    contradictedAt: Number.NEGATIVE_INFINITY,
    namesBlockedUntil: 0,
    former: [],
    isWhole: false,
    newNames: 0,
    newNamesSince: Number.NEGATIVE_INFINITY,
    fewer: 0,
    fewerKeys: '',
    sameLimit: 0,
  };
}
