import type { Attribution } from '../../src/draws/attribution.ts';
import type { LearnedDraw } from '../../src/draws/lesson.ts';
import type { LearnedDraws } from '../../src/draws/learned-draws.ts';
import type { ReportedBudget } from '../../src/rate-headers/budget-groups.ts';
import { makeRateHeaderReader, type HeaderRecord } from '../../src/rate-headers/rate-headers.ts';
import type { Random } from '../../src/util/clock.ts';

/** One request of a {@link runDrawsWorld}. */
export interface WorldRequest {
  readonly credential: string;
  readonly method: string;
  readonly path: string;
}

/** What the API answers. */
export interface WorldAnswer {
  readonly status: number;
  readonly headers: HeaderRecord;
  readonly costsOne?: boolean;
}

export interface DrawsWorldOptions {
  readonly draws: LearnedDraws;
  readonly random: Random;
  /** How many requests are in flight at a time. */
  readonly concurrency: number;
  readonly requests: number;
  /** The next request that is sent. */
  readonly next: (nowMs: number) => WorldRequest;
  /** The API's answer, at the time at which it counts the request. */
  readonly answer: (request: WorldRequest, nowMs: number) => WorldAnswer;
  readonly latencyMs: () => number;
  readonly thinkMs: () => number;
  /** Whether requests wait for their buckets, as the gateway makes them. */
  readonly waits: boolean;
  readonly className?: string;
  readonly startMs?: number;
}

export interface DrawsWorldResult {
  readonly refused: readonly { readonly request: WorldRequest; readonly atMs: number }[];
  /** How long requests waited for buckets: path, when, how long, and for which bucket. */
  readonly waited: readonly {
    readonly request: WorldRequest;
    readonly atMs: number;
    readonly bucket: string;
  }[];
  readonly attributions: readonly Attribution[];
  readonly endMs: number;
}

interface InFlight {
  readonly request: WorldRequest;
  readonly draws: readonly LearnedDraw[] | undefined;
  readonly grantedAt: number;
  readonly countedAt: number;
  readonly receivedAt: number;
  answer: WorldAnswer | undefined;
}

/** The simplest belief about a bucket: what its last report or refusal said. */
interface Belief {
  remaining: number;
  resetAt: number;
}

/**
 * Sends requests to a model of an API, one after the other in virtual time, and lets
 * {@link LearnedDraws} learn from the answers. Buckets are kept as simply as possible: a request waits
 * while the last report of one of its buckets leaves nothing.
 */
export function runDrawsWorld(options: DrawsWorldOptions): DrawsWorldResult {
  const { draws, random, next, answer, latencyMs, thinkMs, waits, className = 'all' } = options;
  const read = makeRateHeaderReader();
  const beliefs = new Map<string, Belief>();
  const refused: { request: WorldRequest; atMs: number }[] = [];
  const waited: { request: WorldRequest; atMs: number; bucket: string }[] = [];
  const attributions: Attribution[] = [];
  const startMs = options.startMs ?? 1_795_860_000_000;
  const freeAt: number[] = Array.from({ length: options.concurrency }, () => startMs);
  let flying: InFlight[] = [];
  let sent = 0;
  let steps = 0;
  let now = startMs;

  const idOf = (request: WorldRequest, name: string): string =>
    `${request.credential}:${className}${name === '' ? '' : `/${name}`}`;

  function blockedUntil(request: WorldRequest, name: string): number {
    const belief = beliefs.get(idOf(request, name));
    return belief === undefined || belief.remaining > 0 ? 0 : belief.resetAt;
  }

  function send(): void {
    const request = next(now);
    const drawn = draws.drawsOf(className, request.method, request.path);
    const names = drawn?.map(({ name }) => name) ?? [''];
    const bucket = waits ? names.find((name) => blockedUntil(request, name) > now) : undefined;
    if (bucket !== undefined) {
      waited.push({ request, atMs: now, bucket });
      // Others are sent meanwhile, in most cases.
      const untilMs = blockedUntil(request, bucket) - now;
      freeAt.push(now + (waited.length % 4 === 0 ? untilMs + 1 : Math.min(50, untilMs) + 1));
      return;
    }
    for (const name of names) {
      const belief = beliefs.get(idOf(request, name));
      if (belief !== undefined) belief.remaining--;
    }
    const countedAt = now + latencyMs();
    const receivedAt = countedAt + latencyMs();
    flying.push({
      request,
      draws: drawn,
      grantedAt: now,
      countedAt,
      receivedAt,
      answer: undefined,
    });
    sent++;
  }

  function receive(one: InFlight): void {
    const { request, draws: drawn, grantedAt, receivedAt } = one;
    const reply = one.answer ?? { status: 502, headers: {} };
    const { budgets, retryAfter } = read(reply.headers);
    const isThrottled = reply.status === 429;
    const statedMs = retryAfter?.kind === 'delay' ? retryAfter.afterMs : undefined;
    const until = receivedAt + (statedMs ?? 1000 + 250 * random());
    const attribution = draws.learn({
      className,
      ownBucketId: idOf(request, ''),
      method: request.method,
      path: request.path,
      draws: drawn,
      status: reply.status,
      ...(isThrottled ? { refusal: { until, isStated: statedMs !== undefined } } : {}),
      reports: budgets,
      costsOne: reply.costsOne !== false,
      grantedAt,
      receivedAt,
    });
    attributions.push(attribution);
    if (isThrottled) refused.push({ request, atMs: receivedAt });
    const names = drawn?.map(({ name }) => name) ?? [''];
    for (const [at, of] of attribution.drawn.entries()) {
      const id = idOf(request, names[at] ?? '');
      if (typeof of === 'number') believe(id, budgets[of], receivedAt);
      else if (of === 'unreported' && isThrottled) {
        beliefs.set(id, { remaining: 0, resetAt: until });
      }
    }
    for (const { name, reportAt } of attribution.others) {
      const id = idOf(request, name);
      if (reportAt !== undefined) believe(id, budgets[reportAt], receivedAt);
      else if (isThrottled) beliefs.set(id, { remaining: 0, resetAt: until });
    }
    freeAt.push(receivedAt + thinkMs());
  }

  function believe(id: string, report: ReportedBudget | undefined, receivedAt: number): void {
    if (report?.remaining === undefined || report.reset === undefined) return;
    const { reset, remaining } = report;
    const resetAt = reset.kind === 'instant' ? reset.atMs : receivedAt + reset.afterMs;
    beliefs.set(id, { remaining, resetAt });
  }

  while (sent < options.requests || flying.length > 0) {
    const isSending = sent < options.requests && ++steps < 20 * options.requests;
    if (!isSending && flying.length === 0) break;
    const nextFree = isSending ? Math.min(...freeAt) : Infinity;
    const nextCount = Math.min(
      ...flying.map((one) => (one.answer === undefined ? one.countedAt : Infinity)),
    );
    const nextReceived = Math.min(
      ...flying.map((one) => (one.answer === undefined ? Infinity : one.receivedAt)),
    );
    now = Math.min(nextFree, nextCount, nextReceived);
    if (now === nextCount) {
      const one = flying.find((other) => other.answer === undefined && other.countedAt === now);
      if (one !== undefined) one.answer = answer(one.request, now);
    } else if (now === nextReceived) {
      const one = flying.find((other) => other.receivedAt === now);
      if (one === undefined) continue;
      flying = flying.filter((other) => other !== one);
      receive(one);
    } else {
      freeAt.splice(freeAt.indexOf(now), 1);
      send();
    }
  }
  return { refused, waited, attributions, endMs: now };
}
