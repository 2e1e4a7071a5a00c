import { Counter, Gauge, Histogram, type Registry } from '@prometheus-io/client';
import { LESSON_REASONS, type Lesson } from '../draws/lesson.ts';
import type { ApiClock } from '../rate-headers/api-clock.ts';
import type { Clock } from '../util/clock.ts';
import type { BucketSnapshot, Ledger, LedgerMode } from '../ledger/ledger.ts';
import { OTHER } from './bounded-labels.ts';
import type { LedgerMonitor } from './ledger-monitor.ts';

export interface StateSources {
  readonly clock: Clock;
  /** The names of several APIs; absent or empty: there is one. */
  readonly apiNames?: readonly string[];
  readonly apis: () => readonly {
    readonly name?: string | undefined;
    readonly apiClock: ApiClock;
    /** What its answers showed of its buckets. */
    readonly lessons: () => readonly Pick<Lesson, 'route' | 'counters' | 'why'>[];
  }[];
  readonly ledger: Pick<Ledger, 'snapshot'>;
  readonly ledgerMonitor: LedgerMonitor;
  /** Requests that wait in the lanes. */
  readonly laneQueued: () => number;
  /** Bytes of requests that wait for a grant, with the bodies that are kept for a retry. */
  readonly bufferedBytes: () => number;
  /** The connections of callers: how many are open, and how many were refused by which bound. */
  readonly connections: () => {
    readonly open: number;
    readonly refused: Readonly<Record<'all' | 'address', number>>;
  };
  /** Wrong keys at the callers' listener, and wrong tokens at the admin listener. */
  readonly authFailures: () => Readonly<Record<'callers' | 'admin', number>>;
  /** Log lines that were dropped because their reader stalled. */
  readonly logLinesLost: () => number;
}

/** How many buckets have their own series; the rest are summed by class as `other`. */
const BUCKETS_NAMED = 100;
const MODES: readonly LedgerMode[] = ['memory', 'redis', 'local'];
const STEP_SECONDS = [0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1];
const STEP_TICKETS = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256];

/**
 * Registers the metrics of the current state: buckets, the API's clock, ledger, lane, buffers.
 * Returns a function that reads the state. Each scrape calls it first, so that the state costs
 * nothing between scrapes.
 */
export function makeStateMetrics(registry: Registry, sources: StateSources): () => void {
  const registers = [registry];
  const { clock, apiNames = [], apis, ledger, ledgerMonitor } = sources;
  const apiLabel = apiNames.length === 0 ? [] : ['api'];
  const gauge = (name: string, help: string): Gauge => new Gauge({ name, help, registers });
  const ofApi = (name: string, help: string): Gauge<string> =>
    new Gauge({ name, help, labelNames: apiLabel, registers });
  const ofBucket = (name: string, help: string): Gauge<string> =>
    new Gauge({ name, help, labelNames: ['bucket', 'class', ...apiLabel], registers });

  const limit = ofBucket('headgate_bucket_limit', 'Operations per period, as the API reported.');
  const remaining = ofBucket('headgate_bucket_remaining', 'Operations left until the reset.');
  const kept = ofBucket(
    'headgate_bucket_kept',
    'Remaining operations that are kept for owners that use little.',
  );
  const waiting = ofBucket('headgate_bucket_waiting', 'Tickets that wait for a grant.');
  const leases = ofBucket('headgate_bucket_leases', 'Requests in flight.');
  const reset = ofBucket('headgate_bucket_reset_seconds', 'Seconds until the reset.');
  const offset = ofApi('headgate_api_clock_offset_seconds', "The API's clock less the host's.");
  const uncertainty = ofApi(
    'headgate_api_clock_uncertainty_seconds',
    "Width of the interval in which the API's clock is known to be.",
  );
  const lessons = new Gauge({
    name: 'headgate_lessons',
    help: 'Routes that are known to spend from a bucket of their own, by how answers showed it.',
    labelNames: ['why', ...apiLabel],
    registers,
  });
  const mode = new Gauge({
    name: 'headgate_ledger_mode',
    help: '1 for the mode in force: memory, redis, or local while Redis is not available.',
    labelNames: ['mode'],
    registers,
  });
  const stepSeconds = new Histogram({
    name: 'headgate_ledger_step_seconds',
    help: 'Round trip of one step of the shared ledger.',
    buckets: STEP_SECONDS,
    registers,
  });
  const stepTickets = new Histogram({
    name: 'headgate_ledger_step_tickets',
    help: 'Tickets in one step of the shared ledger.',
    buckets: STEP_TICKETS,
    registers,
  });
  const laneQueued = gauge('headgate_lane_queued', 'Granted requests that wait for their lane.');
  const buffered = gauge('headgate_buffered_bytes', 'Bytes of requests that wait.');
  const connections = gauge('headgate_connections', 'Open connections of callers.');
  const refused = new Counter({
    name: 'headgate_connections_refused_total',
    help: 'Connections closed at once, by the bound that was reached: all, or of one address.',
    labelNames: ['bound'],
    registers,
  });
  const refusedSeen = { all: 0, address: 0 };
  const authFailures = new Counter({
    name: 'headgate_auth_failures_total',
    help: 'Wrong keys of callers, and wrong tokens of operators, by listener.',
    labelNames: ['listener'],
    registers,
  });
  const authFailuresSeen = { callers: 0, admin: 0 };
  const lost = new Counter({
    name: 'headgate_log_lines_lost_total',
    help: 'Log lines dropped because their reader stalled.',
    registers,
  });
  let lostSeen = 0;

  ledgerMonitor.onStep((durationMs, tickets) => {
    stepSeconds.observe(durationMs / 1000);
    stepTickets.observe(tickets);
  });

  function readBuckets(): void {
    for (const each of [limit, remaining, kept, waiting, leases, reset]) each.reset();
    for (const bucket of bounded(ledger.snapshot())) {
      const labels = { bucket: bucket.id, class: bucket.class, ...labelOf(bucket.api) };
      waiting.set(labels, bucket.waiting);
      leases.set(labels, bucket.leases);
      if (bucket.limit !== undefined) limit.set(labels, bucket.limit);
      if (bucket.remaining !== undefined) remaining.set(labels, bucket.remaining);
      if (bucket.limit !== undefined) kept.set(labels, bucket.kept ?? 0);
      if (bucket.resetInMs !== undefined) reset.set(labels, bucket.resetInMs / 1000);
    }
  }

  return () => {
    readBuckets();
    const now = clock.now();
    const wallMs = clock.wallMs();
    for (const { name, apiClock, lessons: learned } of apis()) {
      const all = learned().filter(
        ({ route, counters }) => route !== undefined || counters.length > 1,
      );
      for (const reason of LESSON_REASONS) {
        const ofReason = all.filter(({ why }) => why === reason).length;
        lessons.set({ why: reason, ...labelOf(name) }, ofReason);
      }
      const { low, high } = apiClock.bounds(now, wallMs);
      offset.set(labelOf(name), ((low + high) / 2 - (wallMs - now)) / 1000);
      uncertainty.set(labelOf(name), (high - low) / 1000);
    }
    for (const each of MODES) mode.set({ mode: each }, ledgerMonitor.currentMode === each ? 1 : 0);
    laneQueued.set(sources.laneQueued());
    buffered.set(sources.bufferedBytes());
    const { open, refused: refusedNow } = sources.connections();
    connections.set(open);
    for (const bound of ['all', 'address'] as const) {
      refused.inc({ bound }, refusedNow[bound] - refusedSeen[bound]);
      refusedSeen[bound] = refusedNow[bound];
    }
    const failuresNow = sources.authFailures();
    for (const listener of ['callers', 'admin'] as const) {
      authFailures.inc({ listener }, failuresNow[listener] - authFailuresSeen[listener]);
      authFailuresSeen[listener] = failuresNow[listener];
    }
    const lostNow = sources.logLinesLost();
    lost.inc(lostNow - lostSeen);
    lostSeen = lostNow;
  };
}

type Numbers = Pick<
  BucketSnapshot,
  'id' | 'class' | 'api' | 'limit' | 'remaining' | 'kept' | 'resetInMs' | 'leases' | 'waiting'
>;

function labelOf(api: string | undefined): { readonly api?: string } {
  return api === undefined ? {} : { api };
}

/** The busiest buckets, and one sum per API and class of all others. */
function bounded(buckets: readonly Numbers[]): readonly Numbers[] {
  if (buckets.length <= BUCKETS_NAMED) return buckets;
  const busiest = [...buckets].sort((a, b) => b.waiting - a.waiting || b.leases - a.leases);
  const others = new Map<string, Numbers>();
  for (const bucket of busiest.slice(BUCKETS_NAMED)) {
    const key = `${bucket.api ?? ''}:${bucket.class}`;
    const sum = others.get(key);
    others.set(key, sum === undefined ? { ...bucket, id: OTHER } : add(sum, bucket));
  }
  return [...busiest.slice(0, BUCKETS_NAMED), ...others.values()];
}

/** Adds the numbers up. The reset of a sum is the latest one: only then have all reset. */
function add(sum: Numbers, bucket: Numbers): Numbers {
  return {
    ...sum,
    limit: (sum.limit ?? 0) + (bucket.limit ?? 0),
    remaining: (sum.remaining ?? 0) + (bucket.remaining ?? 0),
    kept: (sum.kept ?? 0) + (bucket.kept ?? 0),
    resetInMs: Math.max(sum.resetInMs ?? 0, bucket.resetInMs ?? 0),
    leases: sum.leases + bucket.leases,
    waiting: sum.waiting + bucket.waiting,
  };
}
