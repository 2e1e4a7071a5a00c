import { makeAdmin, type Admin } from '../src/app/admin.ts';
import { ApiClock } from '../src/rate-headers/api-clock.ts';
import { AuthThrottle } from '../src/http/auth-throttle.ts';
import type { Priority } from '../src/queue/flow.ts';
import { DrawsLedger } from '../src/ledger/draws-ledger.ts';
import type {
  BucketName,
  BucketSnapshot,
  CallerSignal,
  Grant,
  Ticket,
} from '../src/ledger/ledger.ts';
import { LocalLedger } from '../src/ledger/local/local-ledger.ts';
import type { CallLine } from '../src/telemetry/call-line.ts';
import { RecentActivity } from '../src/telemetry/recent-activity.ts';
import { LedgerMonitor } from '../src/telemetry/ledger-monitor.ts';
import { makeMetrics } from '../src/telemetry/metrics.ts';
import { RequestMemory } from '../src/upstream/request-memory.ts';
import { FakeClock } from '../test/support/fake-clock.ts';
import { makeLimiter, type Limiter } from '../test/support/limiter.ts';
import { seededRandom } from '../test/support/seeded-random.ts';

/** The calls that one caller makes over and over. */
interface Habit {
  readonly caller: string;
  readonly credential: string;
  readonly class: keyof typeof LIMITS;
  /** The name of a bucket that was learned, from which it spends instead of the class's own. */
  readonly learned?: string;
  readonly perMinute: number;
  readonly method: string;
  readonly paths: readonly string[];
  readonly priority?: Priority;
  /** It calls only in these minutes of the scene. */
  readonly minutes?: readonly [from: number, to: number];
  readonly maxWaitMs?: number;
}

const LIMITS = {
  read: { limit: 80, periodMs: 60_000 },
  write: { limit: 20, periodMs: 60_000 },
  purge: { limit: 200, periodMs: 60_000 },
} as const;

/** A further limit of a class, which the settings state. */
const DAILY = {
  class: 'purge',
  name: 'day',
  configuredLimit: { limit: 25_000, periodMs: 86_400_000 },
};
/** A bucket that answers showed to be apart from that of its class. */
const LEARNED = {
  name: 'functions',
  limit: { limit: 40, periodMs: 60_000 },
  shown: { why: 'limit', routes: ['GET /edge_functions'] },
};

const OWN = '4f6c0d7be12a9c03';
const HABITS: readonly Habit[] = [
  habit('dns-sync', 'read', 44, 'GET', ['/intelligent_dns', '/intelligent_dns/118/records']),
  habit('console', 'read', 14, 'GET', ['/domains', '/edge_applications/4021'], {
    priority: 'high',
  }),
  habit('nightly-audit', 'read', 52, 'GET', ['/domains/88', '/edge_applications', '/variables'], {
    priority: 'low',
    minutes: [5, 8],
    maxWaitMs: 60_000,
  }),
  habit('terraform', 'read', 48, 'GET', ['/edge_applications/4021/origins', '/domains'], {
    minutes: [12.2, 16],
  }),
  habit('terraform', 'write', 26, 'PUT', ['/edge_applications/4021/origins/7'], {
    minutes: [12.6, 16],
  }),
  habit('deploy-bot', 'write', 9, 'POST', ['/domains', '/edge_firewall']),
  habit('cms', 'purge', 70, 'POST', ['/purge/url', '/purge/cachekey']),
  { ...habit('cms', 'purge', 150, 'POST', ['/purge/url']), credential: 'b81d20c4e97f3a56' },
  {
    ...habit('shop', 'read', 34, 'GET', ['/domains', '/domains/9']),
    credential: 'b81d20c4e97f3a56',
  },
  {
    ...habit('batch-import', 'read', 90, 'GET', ['/edge_functions'], { maxWaitMs: 30_000 }),
    learned: LEARNED.name,
    credential: 'b81d20c4e97f3a56',
    minutes: [9, 10.2],
  },
];

const NEVER_GONE: CallerSignal = { gone: false, onGone: () => () => undefined };
const MINUTES = 15;
const STEP_MS = 50;

/** A replica that served a busy quarter of an hour, with its admin listener. */
export interface Scene {
  readonly admin: Admin;
  /** Lets `ms` more of the scene's time pass. */
  readonly play: (ms: number) => Promise<void>;
}

/**
 * Simulates a quarter of an hour in a few seconds, with the real ledger and the real feed, against
 * limiters that count as the API does. The scene ends at `nowMs`, in epoch milliseconds.
 */
export async function playScene(nowMs: number): Promise<Scene> {
  const random = seededRandom(20_26);
  const clock = new FakeClock({ startMs: 0, epochMs: nowMs - MINUTES * 60_000 });
  const apiClock = new ApiClock();
  const ledgerMonitor = new LedgerMonitor();
  const feed = new RecentActivity(clock);
  const socketPermits = {
    free: 1,
    take: () => true,
    release: () => undefined,
    onFree: () => undefined,
  };
  const buckets = new LocalLedger({ clock, random, apiClock, socketPermits, maxQueue: 1000 });
  const ledger = new DrawsLedger({ ledger: buckets, clock, socketPermits });
  const limiters = new Map<string, Limiter>();
  let ids = 0;

  function limiterOf({ id, name }: BucketName, className: keyof typeof LIMITS): Limiter {
    const limit = name === LEARNED.name ? LEARNED.limit : LIMITS[className];
    const known = limiters.get(id) ?? makeLimiter('sliding', limit);
    limiters.set(id, known);
    return known;
  }

  function call(one: Habit): void {
    const bucket = bucketOf(one);
    const arrivedAt = clock.now();
    const first: Ticket = {
      id: `${(++ids).toString(16).padStart(8, '0')}-scene`,
      bucket,
      owner: one.caller,
      caller: one.caller,
      priority: one.priority ?? 'normal',
      weight: 1,
      arrivedAt,
      deadlineAt: arrivedAt + (one.maxWaitMs ?? 120_000),
    };
    const daily: BucketName = { ...DAILY, id: `${one.credential}:${DAILY.class}/${DAILY.name}` };
    const ticket: Ticket =
      one.class === DAILY.class
        ? { ...first, needsNoSocket: true, others: [{ ...first, bucket: daily }] }
        : first;
    let waitMs = 0;
    let attempts = 0;
    let upstreamMs = 0;

    function finish(result: Pick<CallLine, 'status' | 'outcome' | 'code' | 'path'>): void {
      const view = ledger.view(bucket.id);
      feed.record({
        ...result,
        id: ticket.id,
        caller: one.caller,
        bucket: bucket.id,
        class: one.class,
        priority: ticket.priority,
        method: one.method,
        query: '',
        attempts,
        waitMs,
        retryMs: 0,
        upstreamMs,
        totalMs: clock.now() - arrivedAt,
        bytesIn: 0,
        bytesOut: 640,
        limit: view?.limit,
        remaining: view?.remaining,
        resetInMs: view?.resetInMs,
        waiting: view?.waiting ?? 0,
        credential: undefined,
        cost: undefined,
        patienceMs: undefined,
        wouldWaitMs: undefined,
        wouldShed: undefined,
        trace_id: undefined,
        span_id: undefined,
      });
    }

    function send(grant: Grant): void {
      const sentAt = clock.now();
      waitMs = sentAt - arrivedAt - upstreamMs;
      attempts++;
      const tookMs = 60 + random() ** 4 * 900;
      clock.after(tookMs, () => {
        upstreamMs += tookMs;
        const receivedAt = clock.now();
        const verdict = limiterOf(bucket, one.class).take(clock.wallMs());
        const dateMs = Math.floor(clock.wallMs() / 1000) * 1000;
        apiClock.observe({ dateMs, sentAt, receivedAt });
        const path = one.paths[Math.floor(random() * one.paths.length)] ?? '/';
        const status = !verdict.allowed ? 429 : path === '/domains/9' ? 404 : 200;
        const reading = {
          limit: verdict.limit,
          remaining: verdict.remaining,
          reset: { kind: 'instant', atMs: verdict.resetAtMs, resolutionMs: 0 },
        } as const;
        const answer = { status, reading, sentAt, receivedAt };
        const outcome = { kind: 'answered', answer } as const;
        // The API does not report the limit that the settings state.
        const unreported = { ...outcome, answer: { ...answer, reading: {} } };
        ledger.settle(grant, ticket.others === undefined ? outcome : [outcome, unreported]);
        if (status !== 429) return finish({ status, outcome: 'answered', code: undefined, path });
        feed.throttled();
        ask('retry');
      });
    }

    function ask(attempt: 'first' | 'retry'): void {
      const admission = ledger.acquire(
        ticket,
        NEVER_GONE,
        attempt === 'retry' ? { notBefore: 0 } : undefined,
      );
      if (admission.kind === 'granted') send(admission.grant);
      else if (admission.kind === 'shed') shed(admission.code);
      else {
        void admission.outcome.then((outcome) => {
          if (outcome.kind === 'granted') send(outcome.grant);
          else if (outcome.kind === 'shed') shed(outcome.code);
        });
      }
    }

    function shed(code: string): void {
      waitMs = clock.now() - arrivedAt;
      finish({ status: 503, outcome: 'shed', code, path: one.paths[0] ?? '/' });
    }

    ask('first');
  }

  /** The buckets as the admin listener shows them, with what answers showed of one. */
  function snapshot(): BucketSnapshot[] {
    return buckets
      .snapshot()
      .map((bucket) =>
        bucket.name === LEARNED.name ? Object.assign(bucket, { learned: LEARNED.shown }) : bucket,
      );
  }

  /** Schedules the next call of a habit: random intervals, with the habit's mean rate. */
  function schedule(one: Habit): void {
    clock.after((-Math.log(1 - random()) * 60_000) / one.perMinute, () => {
      const minute = clock.now() / 60_000;
      const [from, to] = one.minutes ?? [0, Infinity];
      if (minute >= from && minute < to) call(one);
      schedule(one);
    });
  }

  async function play(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += STEP_MS) {
      clock.advance(STEP_MS);
      // Another client spends the same budget for a while; this causes the scene's 429s.
      const minute = clock.now() / 60_000;
      if (minute > 6 && minute < 7.5 && random() < 0.02) {
        limiterOf({ id: `${OWN}:read`, class: 'read' }, 'read').take(clock.wallMs());
      }
      await Promise.resolve();
    }
  }

  for (const one of HABITS) schedule(one);
  await play(MINUTES * 60_000);
  const sources = {
    clock,
    apis: () => [{ apiClock, lessons: () => [] }],
    ledger: { snapshot },
    ledgerMonitor,
    laneQueued: () => 0,
    bufferedBytes: () => 0,
    connections: () => ({ open: 0, refused: { all: 0, address: 0 } }),
    authFailures: () => ({ callers: 0, admin: 0 }),
  };
  const admin = makeAdmin({
    tls: undefined,
    auth: {
      token: () => undefined,
      throttle: new AuthThrottle({ clock, report: () => undefined }),
      beyondLoopback: false,
      isOurHost: () => true,
      isTrustedProxy: () => false,
    },
    clock,
    memory: new RequestMemory(1024 ** 2),
    ledger: {
      snapshot,
      pause: (id) => buckets.pause(id),
      resume: (id) => buckets.resume(id),
    },
    ledgerMonitor,
    metrics: makeMetrics({
      ...sources,
      logLinesLost: () => 0,
      processFigures: false,
      version: '0.2.0',
      scheme: 'http',
    }),
    activity: feed,
    settings: () => [],
    credentialName: () => undefined,
    isDraining: () => false,
    isObserving: () => false,
    log: { info: () => undefined, error: () => undefined },
    isMisconfigured: () => false,
    replica: 'gateway-7d9f-1',
    version: '0.2.0',
  });
  return { admin, play };
}

/** The first bucket that the calls of a habit spend from. */
function bucketOf({ credential, class: className, learned }: Habit): BucketName {
  const id = `${credential}:${className}`;
  if (learned === undefined) return { id, class: className };
  return { id: `${id}~${learned}`, class: className, name: learned };
}

function habit(
  caller: string,
  className: keyof typeof LIMITS,
  perMinute: number,
  method: string,
  paths: readonly string[],
  more: Partial<Habit> = {},
): Habit {
  return {
    caller,
    credential: OWN,
    class: className,
    perMinute,
    method,
    paths,
    ...more,
  };
}
