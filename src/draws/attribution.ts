import type { ReportedBudget } from '../rate-headers/budget-groups.ts';
import type { LearnedDraw } from './lesson.ts';

/** One answer, and the request that it answers. Times are on one clock, in milliseconds. */
export interface Exchange {
  readonly className: string;
  /** The id of the class's own bucket. Answers to different credentials are never compared. */
  readonly ownBucketId: string;
  readonly method: string;
  readonly path: string;
  /** What {@link LearnedDraws.drawsOf} returned for the request. */
  readonly draws: readonly LearnedDraw[] | undefined;
  readonly status: number;
  /** Present if the answer throttles: until when the request waits, and whether the API said so. */
  readonly refusal?: { readonly until: number; readonly isStated: boolean } | undefined;
  /** Empty for an answer from a cache. */
  readonly reports: readonly ReportedBudget[];
  /** Whether the request cost one operation. */
  readonly costsOne: boolean;
  readonly grantedAt: number;
  readonly receivedAt: number;
}

/** Which of an answer's reports belong to which buckets. */
export interface Attribution {
  /**
   * For each bucket that the request drew on, in the same order: the position of its report;
   * `unreported` if the answer has none; `elsewhere` if the request belonged to other buckets, so that
   * nothing was spent here.
   */
  readonly drawn: readonly (number | 'unreported' | 'elsewhere')[];
  /** Buckets that the request spent from without drawing on them. */
  readonly others: readonly OtherBucket[];
  /** The bucket that refused the request, if it is one that no answer reports. */
  readonly refusing?: string;
}

/** A bucket that a request spent from, by its learned name. */
export interface OtherBucket {
  readonly name: string;
  /** The position of its report; absent if the answer has none. */
  readonly reportAt?: number;
}

/** The only bucket drawn on has the first report. */
export const FIRST_REPORT: Attribution = { drawn: [0], others: [] };
/** The only bucket drawn on has no report. */
export const UNREPORTED: Attribution = { drawn: ['unreported'], others: [] };
/** The request spent from no other bucket. */
export const NO_OTHERS: Attribution['others'] = [];

/**
 * What the counters of an answer's reports are called: by the API, or by their position. Two reports of
 * the same name and limit are one counter's: some APIs report it in two families of headers.
 */
export function keysOf(reports: readonly ReportedBudget[]): string[] {
  const keys: string[] = [];
  for (const [at, { name = '', limit }] of reports.entries()) {
    const isFirst = reports.findIndex((one) => (one.name ?? '') === name) === at;
    const same = reports.findIndex((one) => (one.name ?? '') === name && one.limit === limit);
    keys.push(
      same < at ? (keys[same] ?? name) : isFirst ? name : `${name} position-${at + 1}`.trim(),
    );
  }
  return keys;
}

/** Compares what a request drew on with what it spent from. */
export function attributed(
  draws: readonly LearnedDraw[] | undefined,
  targets: readonly OtherBucket[],
): Attribution {
  const names = draws?.map(({ name }) => name) ?? [''];
  const drawn = names.map((drawnName) => {
    const target = targets.find(({ name }) => name === drawnName);
    return target === undefined ? 'elsewhere' : (target.reportAt ?? 'unreported');
  });
  const others = targets.filter(({ name }) => !names.includes(name));
  if (others.length > 0 || drawn.length !== 1) return { drawn, others };
  if (drawn[0] === 0) return FIRST_REPORT;
  return drawn[0] === 'unreported' ? UNREPORTED : { drawn, others: NO_OTHERS };
}

/** Attributes reports by their position, where nothing is learned: beyond the bound of classes. */
export function attributedByPosition({ draws, reports }: Exchange): Attribution {
  const count = draws?.length ?? 1;
  return {
    drawn: Array.from({ length: count }, (_, at) => (at < reports.length ? at : 'unreported')),
    others: NO_OTHERS,
  };
}
