import { once } from 'node:events';
import { lookup } from 'node:dns/promises';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { authorityOf } from '../http/authority.ts';

/** What is tried, in this order; a step that fails is the last one. */
export type Step =
  | 'dns'
  | 'connect'
  | 'tls'
  | 'protocol'
  | 'login'
  | 'topology'
  | 'database'
  | 'role'
  | 'answer';

/**
 * The result of one step on the way to a server. `unavailable`: the server does not answer, or cannot
 * serve now, so the same step may succeed later. `refused`: it answered otherwise than expected, so
 * the settings do not fit it.
 */
export type Finding = { readonly at: string; readonly step: Step } & (
  | { readonly kind: 'ok'; readonly detail: string }
  | { readonly kind: 'unavailable' | 'refused'; readonly reason: string }
);

/** A server that does not answer, or cannot serve now. */
export class Unavailable extends Error {
  override readonly name = 'Unavailable';
}

export type Report = (finding: Finding) => void;

export interface Target {
  readonly host: string;
  readonly port: number;
  readonly tls:
    | {
        /** The name that the certificate must have, if it is not the host. */
        readonly name?: string;
        readonly ca: string | undefined;
        readonly cert?: string | undefined;
        readonly key?: string | undefined;
        /** The setting that names certificates to trust, for the advice. */
        readonly caSetting: string;
      }
    | undefined;
}

/** How long each step may take, as long as the client of Redis waits for a connection. */
export const STEP_TIMEOUT_MS = 5000;

/** `host:port`, as the reports show it. */
export function placeOf({ host, port }: Pick<Target, 'host' | 'port'>): string {
  return authorityOf(host, port);
}

/**
 * Goes to a server step by step: resolves its name, connects, and agrees on TLS. Reports each step.
 * Resolves to the socket; to `undefined` after a step that failed. The caller closes the socket.
 */
export async function openWay(
  target: Target,
  report: Report,
  timeoutMs = STEP_TIMEOUT_MS,
): Promise<Socket | undefined> {
  const { host, port, tls } = target;
  const at = placeOf(target);
  let step: Step = 'dns';
  let socket: Socket | undefined;
  try {
    if (isIP(host) === 0) {
      const found = await withTimeout(lookup(host, { all: true }), timeoutMs);
      report({ kind: 'ok', at, step, detail: found.map(({ address }) => address).join(', ') });
    }
    step = 'connect';
    socket = connectTcp({ host, port });
    // Later errors are reported where the socket is used.
    socket.on('error', () => undefined);
    await withTimeout(once(socket, 'connect'), timeoutMs);
    report({ kind: 'ok', at, step, detail: '' });
    if (tls === undefined) return socket;
    step = 'tls';
    const { ca, cert, key, name = host } = tls;
    const secure = connectTls({
      socket,
      ...(isIP(name) === 0 ? { servername: name } : { host: name }),
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
    });
    secure.on('error', () => undefined);
    const closed = once(socket, 'close').then(() => {
      throw new Unavailable(`the server closed the connection; ${MAYBE_NO_TLS}`);
    });
    const agreed = Promise.race([once(secure, 'secureConnect'), closed]);
    await withTimeout(agreed, timeoutMs, `; ${MAYBE_NO_TLS}`);
    report({ kind: 'ok', at, step, detail: secure.getProtocol() ?? '' });
    return secure;
  } catch (error) {
    socket?.destroy();
    const isAway = step !== 'tls' || error instanceof Unavailable || codeOf(error) === 'ECONNRESET';
    const reason = explain(error, tls?.caSetting ?? '');
    report({ kind: isAway ? 'unavailable' : 'refused', at, step, reason });
    return undefined;
  }
}

const MAYBE_NO_TLS = 'it may not speak TLS at this port';

/** Rejects if `work` takes longer than that; `hint` ends the reason. */
export function withTimeout<T>(work: Promise<T>, timeoutMs: number, hint = ''): Promise<T> {
  const expired = new Promise<never>((_resolve, reject) => {
    AbortSignal.timeout(timeoutMs).addEventListener('abort', () => {
      reject(new Unavailable(`no answer within ${timeoutMs / 1000} s${hint}`));
    });
  });
  return Promise.race([work, expired]);
}

const UNTRUSTED = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);
const NO_TLS = new Set([
  'EPROTO',
  'ERR_SSL_WRONG_VERSION_NUMBER',
  'ERR_SSL_PACKET_LENGTH_TOO_LONG',
]);

/** The reason of an error in words, with what to do where that is known. */
export function explain(error: unknown, caSetting: string): string {
  if (!(error instanceof Error)) return String(error);
  // Several addresses of one name failed.
  if (error instanceof AggregateError && error.message === '') {
    return error.errors.map((each) => explain(each, caSetting)).join('; ');
  }
  const code = codeOf(error);
  if (UNTRUSTED.has(code)) {
    return `its certificate is not trusted (${code}); ${caSetting} names certificates to trust`;
  }
  if (NO_TLS.has(code)) return `the server does not speak TLS at this port (${code})`;
  return error.message;
}

function codeOf(error: unknown): string {
  const hasCode = error instanceof Error && 'code' in error && typeof error.code === 'string';
  return hasCode ? String(error.code) : '';
}
