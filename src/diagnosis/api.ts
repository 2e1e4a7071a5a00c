import type { CallerSignal } from '../ledger/ledger.ts';
import type { ProxyAddress } from '../http/proxy.ts';
import type { DialAddress } from '../upstream/dial.ts';
import type { Upstream } from '../upstream/upstream.ts';
import { explain, openWay, placeOf, type Report } from './way.ts';

export interface ApiTarget {
  readonly origin: string;
  readonly basePath: string;
  readonly address: DialAddress | undefined;
  readonly proxy: ProxyAddress | undefined;
  readonly ca: string | undefined;
}

/**
 * Tries the way to the API step by step, and sends it one request by `upstream`, without a
 * credential: any status is an answer. Reports each step. Resolves to whether the API answered.
 */
export async function diagnoseApi(
  target: ApiTarget,
  upstream: Pick<Upstream, 'take' | 'send'>,
  report: Report,
): Promise<boolean> {
  const { origin, basePath, address, proxy, ca } = target;
  const api = new URL(origin);
  const name = api.hostname.replaceAll(/[[\]]/g, '');
  const first = proxy === undefined ? api : new URL(proxy.origin);
  const isTls = first.protocol === 'https:';
  const host = first.hostname.replaceAll(/[[\]]/g, '');
  const port = Number(first.port === '' ? (isTls ? 443 : 80) : first.port);
  const place =
    proxy === undefined
      ? { host: address?.host ?? host, port: address?.port ?? port }
      : { host, port };
  // The certificate of a proxy is not that of the API.
  const trusted = proxy === undefined ? { name, ca } : { ca: undefined };
  const tls = isTls ? { ...trusted, caSetting: 'HEADGATE_UPSTREAM_CA' } : undefined;
  const socket = await openWay({ ...place, tls }, report);
  if (socket === undefined) return false;
  socket.destroy();

  const at = placeOf(place);
  upstream.take();
  const request = {
    method: 'HEAD',
    path: `${basePath}/`,
    headers: ['User-Agent', 'headgate-check-config'],
    body: null,
    closesSocket: true,
  };
  const sent = await upstream.send(request, STAYS, () => undefined);
  if (sent.kind !== 'answered') {
    const reason = explain(sent.error, 'HEADGATE_UPSTREAM_CA');
    report({ kind: 'unavailable', at, step: 'answer', reason });
    return false;
  }
  sent.response.discard();
  const detail = `HTTP ${sent.response.status}; any status shows that the API answers`;
  report({ kind: 'ok', at, step: 'answer', detail });
  return true;
}

/** The command waits for the answer. */
const STAYS: CallerSignal = { gone: false, onGone: () => () => undefined };
