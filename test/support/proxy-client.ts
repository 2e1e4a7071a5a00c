import { once } from 'node:events';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { onTestFinished } from 'vitest';
import { openRaw, RawSocket } from './raw-socket.ts';

export interface ConnectOptions {
  /** The target of the CONNECT. */
  readonly target?: string;
  /** Its further header lines. */
  readonly headers?: readonly string[];
  /** The name in the TLS handshake; `undefined`: that of the target. */
  readonly servername?: string;
  /** The authorities that the client trusts. */
  readonly ca: string;
  readonly protocols?: readonly string[];
}

/** Opens a connection to a proxy, sends a CONNECT, and resolves when the head of its answer is there. */
export async function sendConnect(
  proxyUrl: string,
  { target = 'api.example:443', headers = [] }: Partial<ConnectOptions> = {},
): Promise<RawSocket> {
  const raw = await openRaw(proxyUrl);
  onTestFinished(() => void raw.socket.destroy());
  raw.write(`CONNECT ${target} HTTP/1.1\r\n${headers.map((line) => `${line}\r\n`).join('')}\r\n`);
  await raw.until((received) => received.includes('\r\n\r\n'));
  return raw;
}

export interface Secured extends RawSocket {
  readonly tls: TLSSocket;
}

/** Opens a connection to a host through a proxy, as a client with HTTPS_PROXY does. */
export async function connectThrough(proxyUrl: string, options: ConnectOptions): Promise<Secured> {
  const { target = 'api.example:443', ca, protocols = ['http/1.1'] } = options;
  const { servername = target.replace(/:\d+$/, '') } = options;
  const raw = await sendConnect(proxyUrl, options);
  if (!raw.received.startsWith('HTTP/1.1 200 ')) throw new Error(raw.received);
  raw.socket.removeAllListeners('data');
  raw.socket.setEncoding();
  const { socket } = raw;
  const tls = connectTls({
    socket,
    servername,
    ca,
    ALPNProtocols: [...protocols],
    checkServerIdentity: () => undefined,
  });
  // A client that refuses the certificate closes its connection.
  tls.once('error', () => socket.destroy());
  await once(tls, 'secureConnect');
  return Object.assign(new RawSocket(tls), { tls });
}

/** A request line and headers, for a connection that serves one request. */
export function requestText(
  path: string,
  host: string,
  lines: readonly string[] = [],
  method = 'GET',
): string {
  const head = [`${method} ${path} HTTP/1.1`, `Host: ${host}`, 'Connection: close', ...lines];
  return `${head.join('\r\n')}\r\n\r\n`;
}
