import type { IncomingMessage, ServerResponse } from 'node:http';
import { onTestFinished } from 'vitest';
import { startApi, type Api, type ApiOptions } from '../support/api.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';

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
