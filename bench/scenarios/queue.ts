import { startAzion, type Azion, type AzionOptions } from '../../test/support/azion.ts';
import { makeClient } from '../support/headgate-client.ts';
import type { Figure } from '../support/figures.ts';
import { pause } from '../support/processes.ts';
import { startHeadgate, type Server } from '../support/servers.ts';
import { quantile } from '../support/statistics.ts';

const TOKEN = { authorization: 'token bench' };
const PLENTY = { limit: 1_000_000, periodMs: 60_000 };
const LEARNING_CALLS = 700;
const LEARNING_EVERY_MS = 6;
/** No part of a second, so that in time there is an answer at every part of one. */
const RELEARNING_EVERY_MS = 17;

/** How soon what waits goes out once it may, and what it costs to let it wait. */
export async function measureQueue(): Promise<Figure[]> {
  return [...(await slotToWire()), ...(await releaseAfterReset()), ...(await memoryPerWaiting())];
}

/**
 * From the moment the API would take a request back to the moment it arrives there. In a sliding
 * log every call comes back a period after it was made, so the API's own record says it exactly.
 */
async function slotToWire(): Promise<Figure[]> {
  const limit = 40;
  const periodMs = 2000;
  return withGateway(
    { semantics: 'sliding', limits: { read: { limit, periodMs }, write: PLENTY } },
    async (gateway, api) => {
      const over = new AbortController();
      await learnTheTime(gateway, LEARNING_EVERY_MS, (calls) => calls < LEARNING_CALLS);
      const learning = learnTheTime(gateway, RELEARNING_EVERY_MS, () => !over.signal.aborted);
      await saturate(gateway, 24 * limit);
      over.abort();
      await learning;
      const arrivals = api.seen
        .filter((call) => call.counted && call.class === 'read')
        .map(({ atMs }) => atMs);
      const settled = arrivals.slice(6 * limit);
      const lateMs = settled.map((atMs, i) => atMs - ((arrivals[i + 5 * limit] ?? 0) + periodMs));
      return [
        {
          what: 'slot back to request on the wire, p50',
          value: quantile(lateMs, 0.5),
          unit: ' ms',
        },
        {
          what: 'slot back to request on the wire, p99',
          value: quantile(lateMs, 0.99),
          unit: ' ms',
          goal: { at: 'most', bound: 20 },
        },
        { what: '429s of the API', value: api.throttled, unit: '', goal: { at: 'most', bound: 0 } },
      ];
    },
  );
}

/** Two hundred wait for a fixed window to end; all must be at the API within a second of it. */
async function releaseAfterReset(): Promise<Figure[]> {
  const limit = 200;
  const periodMs = 5000;
  return withGateway(
    { semantics: 'fixed', limits: { read: { limit, periodMs } } },
    async (gateway, api) => {
      await saturate(gateway, 4 * limit);
      const arrivals = api.seen.filter(({ counted }) => counted).map(({ atMs }) => atMs);
      const windows = [2, 3].map((window) => {
        const previous = arrivals[(window - 1) * limit] ?? 0;
        return (arrivals[(window + 1) * limit - 1] ?? 0) - (previous + periodMs);
      });
      return [
        {
          what: '200 waiting: from the reset until the last is at the API',
          value: Math.max(...windows),
          unit: ' ms',
          goal: { at: 'most', bound: 1000 },
        },
      ];
    },
  );
}

/** Ten thousand small requests that wait: what each adds to the memory of the process. */
async function memoryPerWaiting(): Promise<Figure[]> {
  const count = 10_000;
  return withGateway(
    { limits: { read: { limit: 1, periodMs: 600_000 } } },
    async (gateway) => {
      const client = makeClient();
      await client.call(`${gateway.url}/domains`, TOKEN);
      const before = gateway.rssBytes();
      const waiting = Array.from({ length: count }, () =>
        client.call(`${gateway.url}/domains`, TOKEN).catch(() => undefined),
      );
      await pause(4000);
      const each = (gateway.rssBytes() - before) / count / 1024;
      client.close();
      await Promise.all(waiting);
      return [
        {
          what: `RSS per waiting request, ${count} waiting`,
          value: each,
          unit: ' KB',
          goal: { at: 'most', bound: 20 },
        },
      ];
    },
    { HEADGATE_MAX_WAIT: '1h' },
  );
}

/**
 * The API's whole-second dates tell its clock to a round trip once answers have come at all parts of
 * a second, and no longer so precisely when none have for a while: clocks drift. What saturates a
 * window of whole seconds is answered at the same parts again and again, so others go on meanwhile. A
 * budget of its own pays for them.
 */
async function learnTheTime(
  gateway: Server,
  everyMs: number,
  goesOn: (calls: number) => boolean,
): Promise<void> {
  const client = makeClient();
  for (let calls = 0; goesOn(calls); calls++) {
    await client.call(`${gateway.url}/domains/0`, TOKEN, 'DELETE');
    await pause(everyMs);
  }
  client.close();
}

async function withGateway(
  options: AzionOptions,
  run: (gateway: Server, api: Azion) => Promise<Figure[]>,
  env: Readonly<Record<string, string>> = {},
): Promise<Figure[]> {
  const api = await startAzion(options);
  try {
    const gateway = await startHeadgate('headgate', api.url, env);
    try {
      return await run(gateway, api);
    } finally {
      await gateway.stop();
    }
  } finally {
    await api.close();
  }
}

/** `count` calls at once: what the budget cannot carry yet waits. */
async function saturate(gateway: Server, count: number): Promise<void> {
  const client = makeClient();
  const calls = Array.from({ length: count }, () => client.call(`${gateway.url}/domains`, TOKEN));
  const statuses = await Promise.all(calls);
  client.close();
  const failed = statuses.filter(({ status }) => status !== 200).length;
  if (failed > 0) throw new Error(`${failed} of ${count} calls were not answered with 200`);
}
