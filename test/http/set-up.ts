import type { IncomingMessage, ServerResponse } from 'node:http';
import { onTestFinished } from 'vitest';
import { startApi, type Api, type ApiOptions } from '../support/api.ts';
import { ask } from '../support/ask.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { bucketsOf, until } from '../support/setup.ts';

/** An API that answers as told and a gateway in front of it, for one test. */
export async function setUp(
  answer: (incoming: IncomingMessage, outgoing: ServerResponse) => unknown,
  settings: Record<string, string> = {},
  options: ApiOptions = {},
): Promise<{ api: Api; gateway: TestGateway }> {
  const api = await startApi(answer, options);
  onTestFinished(() => api.close());
  const gateway = await gatewayTo(api.url, settings);
  return { api, gateway };
}

/** A gateway in front of whatever is at `upstream`, for one test. */
export async function gatewayTo(
  upstream: string,
  settings: Record<string, string> = {},
): Promise<TestGateway> {
  const gateway = await startGateway({ upstream, settings });
  onTestFinished(() => gateway.stop());
  return gateway;
}

/** Answers `ok` once it has read all that was sent. */
export function ok(incoming: IncomingMessage, outgoing: ServerResponse): void {
  incoming.resume().on('end', () => outgoing.end('ok'));
}

export interface HeldApi {
  readonly api: Api;
  readonly gateway: TestGateway;
  /** Lets the request at `/held` go. */
  readonly release: () => void;
}

/** One socket to the API, and a request that keeps it: whatever comes now has to wait. */
export async function setUpHeld(settings: Record<string, string> = {}): Promise<HeldApi> {
  let held: ServerResponse | undefined;
  const { api, gateway } = await setUp(
    (incoming, outgoing) => {
      if (incoming.url === '/held') held = outgoing;
      else ok(incoming, outgoing);
    },
    { HEADGATE_UPSTREAM_CONNECTIONS: '1', HEADGATE_MAX_WAIT: '1m', ...settings },
  );
  const first = ask(`${gateway.url}/held`);
  first.catch(() => undefined);
  await until('the API has the first request', () => held !== undefined);
  return { api, gateway, release: () => held?.end('ok') };
}

/** Resolves when so many tickets wait. */
export async function waiting(gateway: TestGateway, count: number): Promise<void> {
  await until(`${count} wait`, async () => {
    const buckets = await bucketsOf(gateway);
    return buckets.reduce((sum, bucket) => sum + bucket.waiting, 0) === count;
  });
}
