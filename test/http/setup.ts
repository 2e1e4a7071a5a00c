import type { IncomingMessage, ServerResponse } from 'node:http';
import { onTestFinished } from 'vitest';
import { startApi, type Api, type ApiOptions } from '../support/api.ts';
import type { Clock } from '../../src/util/clock.ts';
import { systemClock } from '../../src/util/system-clock.ts';
import { ask } from '../support/ask.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { bucketsOf, until } from '../support/setup.ts';

interface GatewayClock {
  /** The gateway's clock; the system's by default. */
  readonly clock?: Clock;
}

/** Starts an API that answers with `answer` and a gateway in front of it, for one test. */
export async function setUpApi(
  answer: (incoming: IncomingMessage, outgoing: ServerResponse) => unknown,
  settings: Record<string, string> = {},
  options: ApiOptions & GatewayClock = {},
): Promise<{ api: Api; gateway: TestGateway }> {
  const api = await startApi(answer, options);
  onTestFinished(() => api.close());
  const gateway = await setUpGateway(api.url, settings, options);
  return { api, gateway };
}

/** Starts a gateway in front of the API at `upstream`, for one test. */
export async function setUpGateway(
  upstream: string,
  settings: Record<string, string> = {},
  { clock = systemClock }: GatewayClock = {},
): Promise<TestGateway> {
  const gateway = await startGateway({ upstream, settings, clock });
  onTestFinished(() => gateway.stop());
  return gateway;
}

/** Answers `ok` once it has read the whole request. */
export function ok(incoming: IncomingMessage, outgoing: ServerResponse): void {
  incoming.resume().on('end', () => outgoing.end('ok'));
}

export interface HeldApi {
  readonly api: Api;
  readonly gateway: TestGateway;
  /** Answers the request at `/held`. */
  readonly release: () => void;
}

/** Starts a gateway with one socket to the API, which a request keeps: further requests wait. */
export async function setUpHeldApi(
  settings: Record<string, string> = {},
  clock: GatewayClock = {},
): Promise<HeldApi> {
  let held: ServerResponse | undefined;
  const { api, gateway } = await setUpApi(
    (incoming, outgoing) => {
      if (incoming.url === '/held') held = outgoing;
      else ok(incoming, outgoing);
    },
    { HEADGATE_UPSTREAM_CONNECTIONS: '1', HEADGATE_MAX_WAIT: '1m', ...settings },
    clock,
  );
  const first = ask(`${gateway.url}/held`);
  first.catch(() => undefined);
  await until('the API has the first request', () => held !== undefined);
  return { api, gateway, release: () => held?.end('ok') };
}

/** Resolves when `count` requests wait at the gateway. */
export async function untilWaiting(gateway: TestGateway, count: number): Promise<void> {
  await until(`${count} wait`, async () => {
    const buckets = await bucketsOf(gateway);
    return buckets.reduce((sum, bucket) => sum + bucket.waiting, 0) === count;
  });
}
