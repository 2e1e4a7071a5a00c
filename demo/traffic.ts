/** What became of one caller's calls so far. */
export interface CallerState {
  readonly name: string;
  /** Its part of all calls; the parts of all callers add up to 1. */
  readonly share: number;
  sent: number;
  served: number;
  /** Answers with status 429, which no caller should ever see. */
  throttled: number;
  failed: number;
  /** Milliseconds from sending to the answer, over the calls served. */
  totalMs: number;
  longestMs: number;
}

export interface TrafficOptions {
  readonly gatewayUrl: string;
  readonly callers: readonly CallerState[];
  /** Calls in all. */
  readonly calls: number;
  readonly callsPerSecond: number;
  readonly signal: AbortSignal;
}

const NAMES = ['billing', 'deploys', 'dashboard', 'alerts', 'search', 'audit', 'reports', 'cms'];
const GREEDY = 'nightly-sync';
const PATHS = ['/domains', '/edge_applications', '/digital_certificates', '/variables'];
const TICK_MS = 20;

/** Callers of which the last one sends as much as all the others together. */
export function makeCallers(count: number): CallerState[] {
  const polite = Array.from({ length: count - 1 }, (_, i) => NAMES[i] ?? `service-${i + 1}`);
  const share = (name: string): number =>
    count === 1 ? 1 : name === GREEDY ? 0.5 : 0.5 / polite.length;
  return [...polite, GREEDY].map((name) => ({
    name,
    share: share(name),
    sent: 0,
    served: 0,
    throttled: 0,
    failed: 0,
    totalMs: 0,
    longestMs: 0,
  }));
}

/** Calls that were sent and have no answer yet. */
export function outstanding({ sent, served, throttled, failed }: CallerState): number {
  return sent - served - throttled - failed;
}

/**
 * Sends every caller's calls at a steady pace, however long the answers take, as independent
 * services do. Resolves when each call has its answer, or when `signal` says to stop.
 */
export async function sendTraffic(options: TrafficOptions): Promise<void> {
  const { callers, calls, callsPerSecond, signal } = options;
  const startedAt = performance.now();
  const pending: Promise<void>[] = [];
  const plan = callers.map((caller) => ({ caller, wanted: Math.round(caller.share * calls) }));
  for (;;) {
    const due = ((performance.now() - startedAt) / 1000) * callsPerSecond;
    for (const { caller, wanted } of plan) {
      const dueHere = Math.min(wanted, Math.ceil(due * caller.share));
      while (caller.sent < dueHere && !signal.aborted) pending.push(call(options, caller));
    }
    if (signal.aborted || plan.every(({ caller, wanted }) => caller.sent >= wanted)) break;
    await new Promise((resolve) => {
      setTimeout(resolve, TICK_MS);
    });
  }
  await Promise.all(pending);
}

async function call({ gatewayUrl, signal }: TrafficOptions, caller: CallerState): Promise<void> {
  const path = PATHS[caller.sent % PATHS.length] ?? '';
  caller.sent++;
  const startedAt = performance.now();
  try {
    const response = await fetch(gatewayUrl + path, {
      signal,
      headers: { authorization: 'token demo', 'headgate-caller': caller.name },
    });
    await response.arrayBuffer();
    if (response.status === 429) caller.throttled++;
    else if (!response.ok) caller.failed++;
    else {
      caller.served++;
      const tookMs = performance.now() - startedAt;
      caller.totalMs += tookMs;
      caller.longestMs = Math.max(caller.longestMs, tookMs);
    }
  } catch {
    // After Ctrl-C every open call ends here; the summary shows it as sent and not served.
    if (!signal.aborted) caller.failed++;
  }
}
