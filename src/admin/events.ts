import type { Clock, Timer } from '../util/clock.ts';
import type { BucketSnapshot, Ledger, LedgerMode } from '../ledger/ledger.ts';
import type { CallFilter, Feed } from '../telemetry/recent-activity.ts';
import { callAnswer, roundedBucket, type CallAnswer } from './json.ts';

export interface EventsDependencies {
  readonly clock: Clock;
  readonly feed: Feed;
  readonly ledger: Pick<Ledger, 'snapshot'>;
  readonly ledgerMode: () => LedgerMode;
  readonly isDraining: () => boolean;
  readonly replica: string;
  readonly version: string;
}

/** Sends what happens to whoever watches, once a second; does nothing while nobody does. */
export interface Events {
  /**
   * The stream for one more watcher, who only gets calls that `wanted` wants; `undefined` when
   * there are enough watchers.
   */
  watch(wanted: CallFilter): ReadableStream<Uint8Array> | undefined;
  readonly watchers: number;
  close(): void;
}

export const MOST_WATCHERS = 16;
const TICK_MS = 1000;
/** A watcher that leaves more than this unread is dropped; a browser then connects again. */
const MOST_UNREAD_BYTES = 1024 * 1024;
/** Calls in one tick; of more than these it gets the newest and the number of the others. */
const CALLS_PER_TICK = 50;
const CALLS_AT_FIRST = 200;
/** More gauges than these nobody looks at; the rest are counted. */
const MOST_BUCKETS = 60;

/**
 * The events of `GET /events`. `snapshot` comes first and says everything, so a watcher that was
 * away needs nothing else; then a `tick` a second says what changed. All times are durations or
 * carry the time of sending, so the watcher's own clock does not matter.
 */
export function makeEvents(dependencies: EventsDependencies): Events {
  const { clock, feed, ledger, ledgerMode, isDraining, replica, version } = dependencies;
  const watchers = new Set<Watcher>();
  const encoder = new TextEncoder();
  let timer: Timer | undefined;
  let id = 0;

  function tick(): void {
    timer = watchers.size === 0 ? undefined : clock.after(TICK_MS, tick);
    if (timer === undefined) return;
    id++;
    // What all watchers see alike is put together once.
    const common = JSON.stringify({ ...state(), points: feed.points(2) }).slice(1);
    for (const watcher of watchers) {
      send(watcher, `{"calls":${JSON.stringify(calls(watcher, CALLS_PER_TICK))},${common}`, 'tick');
    }
  }

  function state(): WatchedState {
    const all = ledger.snapshot();
    const busiest = all.length <= MOST_BUCKETS ? all : mostGoingOn(all);
    return {
      at: clock.wallMs(),
      replica,
      version,
      ledger: ledgerMode(),
      draining: isDraining(),
      total: feed.sequence,
      step: feed.step,
      buckets: busiest.map(roundedBucket),
      bucketsHidden: all.length - busiest.length,
    };
  }

  function calls(watcher: Watcher, most: number): WatchedCalls {
    const { calls: found, skipped } = feed.since(watcher.seen, most, watcher.wanted);
    const missed = Math.max(0, feed.sequence - watcher.seen - feed.kept);
    watcher.seen = feed.sequence;
    return { shown: found.map(callAnswer), sampledOut: skipped, missed };
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
    watch(wanted) {
      if (watchers.size >= MOST_WATCHERS) return undefined;
      let watcher: Watcher | undefined;
      return new ReadableStream<Uint8Array>(
        {
          start(controller) {
            watcher = { controller, wanted, seen: 0 };
            watchers.add(watcher);
            const first = {
              calls: calls(watcher, CALLS_AT_FIRST),
              ...state(),
              points: feed.points(),
              stepMs: feed.stepMs,
            };
            controller.enqueue(encoder.encode(`retry: ${TICK_MS}\n`));
            send(watcher, JSON.stringify(first), 'snapshot');
            timer ??= clock.after(TICK_MS, tick);
          },
          cancel() {
            if (watcher !== undefined) watchers.delete(watcher);
          },
        },
        new ByteLengthQueuingStrategy({ highWaterMark: MOST_UNREAD_BYTES }),
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
  readonly wanted: CallFilter;
  /** The number of the newest call that it was told of. */
  seen: number;
}

interface WatchedState {
  readonly at: number;
  readonly replica: string;
  readonly version: string;
  readonly ledger: LedgerMode;
  readonly draining: boolean;
  /** Calls since the start. */
  readonly total: number;
  /** The number of the point of the history that is now. */
  readonly step: number;
  readonly buckets: readonly BucketSnapshot[];
  readonly bucketsHidden: number;
}

interface WatchedCalls {
  /** Newest first. */
  readonly shown: readonly CallAnswer[];
  /** Wanted calls that were left out because there were too many. */
  readonly sampledOut: number;
  /** Calls that came so fast that they were not even looked at. */
  readonly missed: number;
}

/** Those in which most waits, and in the order in which they always come. */
function mostGoingOn(buckets: readonly BucketSnapshot[]): readonly BucketSnapshot[] {
  const order = [...buckets].sort((a, b) => b.waiting - a.waiting || b.leases - a.leases);
  const chosen = new Set(order.slice(0, MOST_BUCKETS));
  return buckets.filter((bucket) => chosen.has(bucket));
}
