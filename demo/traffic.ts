/** The calls of one caller so far, by how they ended. */
export interface CallerState {
  readonly name: string;
  /** The caller's share of all calls. The shares of all callers add up to 1. */
  readonly share: number;
  sent: number;
  served: number;
  /** Answers with status 429. No caller should ever get one. */
  throttled: number;
  failed: number;
  /** Milliseconds from sending to the answer, added up over the served calls. */
  totalMs: number;
  longestMs: number;
}

export interface TrafficOptions {
  readonly gatewayUrl: string;
  readonly callers: readonly CallerState[];
  /** The number of calls of all callers together. */
  readonly calls: number;
  readonly callsPerSecond: number;
  readonly signal: AbortSignal;
}

const NAMES = ['billing', 'deploys', 'dashboard', 'alerts', 'search', 'audit', 'reports', 'cms'];
const GREEDY = 'nightly-sync';
const PATHS = ['/domains', '/edge_applications', '/digital_certificates', '/variables'];
const TICK_MS = 20;

/** Makes `count` callers. The last one sends as many calls as all the others together. */
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

/** The number of calls that were sent and have no answer yet. */
export function outstanding({ sent, served, throttled, failed }: CallerState): number {
  return sent - served - throttled - failed;
}

/**
 * Sends every caller's calls at a constant rate, however long the answers take, as independent
 * services do. Resolves when every call has its answer, or when `signal` is aborted.
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
    // After Ctrl-C, every open call ends here. The summary counts it as sent and not served.
    if (!signal.aborted) caller.failed++;
  }
}
