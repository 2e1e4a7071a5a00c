import { LoneRefusals } from '../../src/gateway/settle/lone-refusals.ts';
import { makeReadThrottle } from '../../src/gateway/settle/throttle.ts';
import {
  NEVER_GONE,
  type Grant,
  type Granted,
  type Ledger,
  type Retry,
  type Shed,
  type Cancelled,
} from '../../src/ledger/ledger.ts';
import type { ApiClock } from '../../src/rate-headers/api-clock.ts';
import { makeRateHeaderReader, mostBinding } from '../../src/rate-headers/rate-headers.ts';
import { renderHeaders, type Dialect } from './dialect.ts';
import type { FakeClock } from './fake-clock.ts';
import type { FakePermits } from './ledger-driver.ts';
import { makeLimiter, type LimiterOptions, type Semantics } from './limiter.ts';
import { seededRandom } from './seeded-random.ts';

/** An API that is hostile in several ways at once, and what is asked of it. */
export interface Mix extends LimiterOptions {
  readonly semantics: Semantics;
  /** What calls cost, in rotation; 1 by default. */
  readonly costs?: readonly number[];
  /**
   * How the ledger knows that: each call states it, which is the default; it states the highest cost, and
   * its answer the true one; only answers state it; or only the fall of `remaining` shows it.
   */
  readonly shown?: 'stated' | 'bounded' | 'settled' | 'learned';
  /** Which part of the limit another consumer of the budget spends, at random times. */
  readonly others?: number;
  /** How many requests the API works on at once; a further one gets a 429 that reports nothing… */
  readonly ceiling?: number;
  /** … but a limit of 0, if this is set. */
  readonly saysZero?: boolean;
  /** The shortest and the longest time to the API, in it, and back. */
  readonly oneWayMs?: readonly [least: number, most: number];
  /** By how much the reported resets are earlier or later than the truth, at most. */
  readonly jitterMs?: number;
  /** `none`: the API reports nothing. */
  readonly dialect?: Dialect | 'none';
  readonly skewMs?: number;
  /** How many callers there are; each requests the next grant when it has an answer. */
  readonly callers?: number;
  readonly periods?: number;
  readonly seed?: number;
}

/** The parts of one replica. */
export interface MixReplica {
  readonly ledger: Ledger;
  readonly permits: FakePermits;
  readonly apiClock: ApiClock;
}

export interface MixWorld {
  readonly clock: FakeClock;
  readonly replicas: readonly MixReplica[];
  /** Lets everything finish that is under way at this moment of the clock. */
  readonly quiet: () => Promise<void>;
}

export interface MixResult {
  readonly sent: number;
  /** Of our requests, without those that were sent before the first answer arrived. */
  readonly refused: number;
  readonly refusedShare: number;
  /** What the API accepted in all, over what its limits allow; from the second period on. */
  readonly utilisation: number;
  /** The most operations that were under way to an API with fewer left, after the first answer. */
  readonly overdrawn: number;
  readonly shed: number;
  /** The longest time in which the API accepted nothing of ours. */
  readonly longestGapMs: number;
}

const BUCKET = { id: 'b', class: 'c' } as const;

/** Runs a mix on a ledger, and settles as the gateway does. Times are whole milliseconds. */
export async function playMix(mix: Mix, { clock, replicas, quiet }: MixWorld): Promise<MixResult> {
  const { semantics, limit, periodMs, costs = [1], shown = 'stated', others = 0 } = mix;
  const {
    ceiling = Infinity,
    saysZero = false,
    oneWayMs = [20, 60],
    jitterMs = 0,
    dialect = {},
  } = mix;
  const { skewMs = 0, callers = 24, periods = 10, seed = 1 } = mix;
  const random = seededRandom(seed);
  const limiter = makeLimiter(semantics, { limit, periodMs });
  const readHeaders = makeRateHeaderReader();
  const start = clock.now();
  const end = start + periods * periodMs;
  const measuredFrom = start + periodMs;
  const apiNow = (): number => clock.wallMs() + skewMs;
  const oneWay = (): number => Math.round(oneWayMs[0] + (oneWayMs[1] - oneWayMs[0]) * random());
  let [sent, refused, shed, served, working, out, overdrawn] = [0, 0, 0, 0, 0, 0, 0];
  let [acceptedAt, longestGapMs] = [start, 0];
  let hasAnswer = false;

  const accept = (cost: number, isOurs: boolean): void => {
    if (clock.now() >= measuredFrom) served += cost;
    if (!isOurs) return;
    longestGapMs = Math.max(longestGapMs, clock.now() - acceptedAt);
    acceptedAt = clock.now();
  };

  function ask(replica: MixReplica, caller: string, number: number): void {
    const { ledger, permits, apiClock } = replica;
    const loneRefusals = lone(replica);
    const readThrottle = makeReadThrottle({ apiClock, clock, random, throttleStatuses: [] });
    const cost = costs[number % costs.length] ?? 1;
    const id = `${caller}-${number}`;
    const arrivedAt = clock.now();
    const ticket = {
      id,
      bucket: BUCKET,
      owner: caller,
      caller,
      priority: 'normal',
      weight: 1,
      cost: shown === 'stated' ? cost : shown === 'bounded' ? Math.max(...costs) : undefined,
      arrivedAt,
      deadlineAt: end + periodMs,
    } as const;
    const again = (): void => ask(replica, caller, number + callers);

    function acquire(attempt: number, retry?: Retry): void {
      const decide = (outcome: Granted | Shed | Cancelled): void => {
        if (outcome.kind === 'granted') return send(outcome.grant, attempt);
        if (clock.now() >= end) return;
        shed++;
        const afterMs = outcome.kind === 'shed' ? outcome.retryAfterMs : 0;
        clock.after(Math.max(100, Math.ceil(afterMs)), again);
      };
      const admission = ledger.acquire(ticket, NEVER_GONE, retry);
      if (admission.kind === 'waiting') void admission.outcome.then(decide);
      else decide(admission);
    }

    function send(grant: Grant, attempt: number): void {
      const sentAt = clock.now();
      const isLater = hasAnswer;
      sent++;
      out += cost;
      if (isLater) overdrawn = Math.max(overdrawn, out - limiter.look(apiNow(), 0).remaining);
      clock.after(oneWay(), () => {
        out -= cost;
        const isFull = working >= ceiling;
        const verdict = isFull ? undefined : limiter.take(apiNow(), cost);
        const isAccepted = verdict?.allowed === true;
        if (isAccepted) accept(cost, true);
        else if (isLater) refused++;
        const dateMs = Math.floor(apiNow() / 1000) * 1000;
        const noiseMs = (2 * random() - 1) * jitterMs;
        const zero = { 'x-ratelimit-limit': '0', 'x-ratelimit-remaining': '0' };
        const headers: Record<string, string> =
          verdict === undefined || dialect === 'none'
            ? verdict === undefined && saysZero
              ? zero
              : {}
            : renderHeaders(
                { ...verdict, resetAtMs: verdict.resetAtMs + noiseMs },
                apiNow(),
                dialect,
              );
        if (isAccepted) working++;
        clock.after(isAccepted ? oneWay() : 0, () => {
          if (isAccepted) working--;
          clock.after(oneWay(), () => settle(grant, attempt, headers, isAccepted, sentAt, dateMs));
        });
      });
    }

    function settle(
      grant: Grant,
      attempt: number,
      headers: Record<string, string>,
      isAccepted: boolean,
      sentAt: number,
      dateMs: number,
    ): void {
      const receivedAt = clock.now();
      hasAnswer = true;
      apiClock.observe({ dateMs, sentAt, receivedAt });
      const read = readHeaders(headers);
      const report = mostBinding(read);
      const status = isAccepted ? 200 : 429;
      const throttle = readThrottle(status, read, receivedAt, attempt);
      const isSettled = isAccepted && (shown === 'settled' || shown === 'bounded');
      const settled = isSettled ? { ...report, cost } : report;
      const isOwn = (report.remaining ?? 0) === 0;
      const isLone =
        throttle === undefined ||
        (!isOwn && loneRefusals.isLone(BUCKET.id, id, receivedAt, throttle.until));
      const isClosed = !isLone && !isOwn;
      const wait = report.retryAfter === undefined ? {} : { retryAfter: report.retryAfter };
      const reading = isClosed ? wait : settled;
      ledger.settle(grant, { kind: 'answered', answer: { status, reading, sentAt, receivedAt } });
      permits.release();
      if (receivedAt >= end) return;
      if (throttle === undefined) again();
      else acquire(attempt + 1, { notBefore: isLone ? throttle.until : 0 });
    }

    acquire(1);
  }

  const loneByReplica = new Map<MixReplica, LoneRefusals>();
  function lone(replica: MixReplica): LoneRefusals {
    const known = loneByReplica.get(replica) ?? new LoneRefusals();
    loneByReplica.set(replica, known);
    return known;
  }

  if (others > 0) {
    const everyMs = periodMs / (limit * others);
    const spend = (): void => {
      if (limiter.take(apiNow()).allowed) accept(1, false);
      if (clock.now() < end) clock.after(Math.round(2 * random() * everyMs), spend);
    };
    clock.after(Math.round(random() * everyMs), spend);
  }
  for (let i = 0; i < callers; i++) {
    const replica = replicas[i % replicas.length];
    if (replica !== undefined) ask(replica, `caller-${i}`, i);
  }
  for (;;) {
    await quiet();
    const next = clock.nextAt();
    if (next === undefined || next > end) break;
    clock.advance(Math.max(0, next - clock.now()));
  }
  longestGapMs = Math.max(longestGapMs, end - acceptedAt);

  const tripMs = (3 * (oneWayMs[0] + oneWayMs[1])) / 2;
  const perMs = Math.min(limit / periodMs, ceiling / tripMs);
  return {
    sent,
    refused,
    refusedShare: refused / Math.max(1, sent),
    utilisation: served / (perMs * (end - measuredFrom)),
    overdrawn,
    shed,
    longestGapMs,
  };
}
