import type { Clock, Timer } from '../util/clock.ts';
import type { BucketSnapshot, Ledger, LedgerMode } from '../ledger/ledger.ts';
import type { CredentialName } from '../telemetry/credential-names.ts';
import type { ApiState } from '../telemetry/api-state.ts';
import type { CallFilter, ObservedCalls, RecentActivity } from '../telemetry/recent-activity.ts';
import { bucketJson, callJson, type BucketJson, type CallJson } from './json.ts';

export interface EventsDependencies {
  readonly clock: Clock;
  readonly activity: RecentActivity;
  readonly ledger: Pick<Ledger, 'snapshot'>;
  readonly ledgerMode: () => LedgerMode;
  readonly credentialName: CredentialName;
  readonly isDraining: () => boolean;
  /** Whether the gateway is in observe mode. */
  readonly isObserving: () => boolean;
  /** Whether a token is set, with which buckets can be paused. */
  readonly canPause: () => boolean;
  readonly replica: string;
  readonly version: string;
}

/** Sends events to all watchers, once per second. Without watchers, it sets no timer. */
export interface Events {
  /** The stream of a new watcher, with only the calls that match; `undefined` at the limit. */
  watch(matches: CallFilter): ReadableStream<Uint8Array> | undefined;
  readonly watchers: number;
  close(): void;
}

export const MAX_WATCHERS = 16;
const TICK_MS = 1000;
/** A watcher with more unread bytes is disconnected; a browser then connects again. */
const MAX_UNREAD_BYTES = 1024 * 1024;
/** The most calls in one tick: the newest ones, and the number of the others. */
const CALLS_PER_TICK = 50;
const CALLS_IN_SNAPSHOT = 200;
/** The most buckets in one event: the busiest ones, and the number of the others. */
const MAX_BUCKETS = 60;

/**
 * The events of `GET /events`. The first event is a `snapshot` of the whole state, so a watcher that
 * reconnects needs nothing else. Then one `tick` per second has the changes. All times are durations,
 * or times of this replica's clock, so the clock of the watcher does not matter.
 */
export function makeEvents(dependencies: EventsDependencies): Events {
  const { clock, activity, ledger, ledgerMode, isDraining, replica, version } = dependencies;
  const { credentialName, isObserving, canPause } = dependencies;
  const watchers = new Set<Watcher>();
  const encoder = new TextEncoder();
  let timer: Timer | undefined;
  let id = 0;

  function tick(): void {
    timer = watchers.size === 0 ? undefined : clock.after(TICK_MS, tick);
    if (timer === undefined) return;
    id++;
    // The part that is the same for all watchers is made once.
    const common = JSON.stringify({ ...state(), points: activity.points(2) }).slice(1);
    for (const watcher of watchers) {
      send(watcher, `{"calls":${JSON.stringify(calls(watcher, CALLS_PER_TICK))},${common}`, 'tick');
    }
  }

  function state(): WatchedState {
    const all = ledger.snapshot();
    const busiest = all.length <= MAX_BUCKETS ? all : busiestOf(all);
    return {
      at: clock.wallMs(),
      replica,
      version,
      ledger: ledgerMode(),
      draining: isDraining(),
      ...(isObserving() ? { observed: activity.observed } : {}),
      canPause: canPause(),
      api: activity.api,
      total: activity.sequence,
      step: activity.step,
      buckets: busiest.map((bucket) => bucketJson(bucket, credentialName)),
      bucketsHidden: all.length - busiest.length,
    };
  }

  function calls(watcher: Watcher, max: number): WatchedCalls {
    const { calls: found, skipped } = activity.since(watcher.seen, max, watcher.matches);
    const missed = Math.max(0, activity.sequence - watcher.seen - activity.kept);
    watcher.seen = activity.sequence;
    return { shown: found.map(callJson), sampledOut: skipped, missed };
  }

  function send(watcher: Watcher, data: string, event: string): void {
    const { controller } = watcher;
    if ((controller.desiredSize ?? 0) <= 0) {
      watchers.delete(watcher);
      controller.error(new Error('the watcher reads too slowly'));
      return;
    }
    controller.enqueue(encoder.encode(`id: ${id}\nevent: ${event}\ndata: ${data}\n\n`));
  }

  return {
    get watchers() {
      return watchers.size;
    },
    watch(matches) {
      if (watchers.size >= MAX_WATCHERS) return undefined;
      let watcher: Watcher | undefined;
      return new ReadableStream<Uint8Array>(
        {
          start(controller) {
            watcher = { controller, matches, seen: 0 };
            watchers.add(watcher);
            const first = {
              calls: calls(watcher, CALLS_IN_SNAPSHOT),
              ...state(),
              points: activity.points(),
              stepMs: activity.stepMs,
            };
            controller.enqueue(encoder.encode(`retry: ${TICK_MS}\n`));
            send(watcher, JSON.stringify(first), 'snapshot');
            timer ??= clock.after(TICK_MS, tick);
          },
          cancel() {
            if (watcher !== undefined) watchers.delete(watcher);
          },
        },
        new ByteLengthQueuingStrategy({ highWaterMark: MAX_UNREAD_BYTES }),
      );
    },
    close() {
      timer?.cancel();
      timer = undefined;
      for (const { controller } of watchers) controller.close();
      watchers.clear();
    },
  };
}

interface Watcher {
  readonly controller: ReadableStreamDefaultController<Uint8Array>;
  readonly matches: CallFilter;
  /** The number of the newest call that its events covered. */
  seen: number;
}

interface WatchedState {
  readonly at: number;
  readonly replica: string;
  readonly version: string;
  readonly ledger: LedgerMode;
  readonly draining: boolean;
  /** Only in observe mode. */
  readonly observed?: ObservedCalls;
  readonly canPause: boolean;
  readonly api: ApiState;
  /** Calls since the start. */
  readonly total: number;
  /** The number of the current point of the history. */
  readonly step: number;
  readonly buckets: readonly BucketJson[];
  readonly bucketsHidden: number;
}

interface WatchedCalls {
  /** Newest first. */
  readonly shown: readonly CallJson[];
  /** Matching calls that were omitted because there were too many. */
  readonly sampledOut: number;
  /** Calls that were dropped from the kept calls before this event looked at them. */
  readonly missed: number;
}

/** The buckets with most waiting tickets, then most leases, then the least left; in their usual order. */
function busiestOf(buckets: readonly BucketSnapshot[]): readonly BucketSnapshot[] {
  const byLoad = [...buckets].sort(
    (a, b) => b.waiting - a.waiting || b.leases - a.leases || shareLeft(a) - shareLeft(b),
  );
  const chosen = new Set(byLoad.slice(0, MAX_BUCKETS));
  return buckets.filter((bucket) => chosen.has(bucket));
}

function shareLeft({ limit = 0, remaining = 0 }: BucketSnapshot): number {
  return limit === 0 ? 1 : remaining / limit;
}
