import type { Writable } from 'node:stream';
import { headersForCaller, SET_COOKIE } from '../../http/header-filter.ts';
import type { BodyFailure, UpstreamResponse } from '../../upstream/response.ts';
import { ABORTED, ANSWERED, type Call, type CallEnd } from '../call.ts';
import type { Job } from '../identify.ts';
import type { RewrittenBody } from './link-rewrite.ts';
import { GatewayError } from '../problem.ts';
import type { WatchReading } from '../connections/reading-watch.ts';
import type { SocketShare } from '../connections/socket-share.ts';
import type { WatchUnread } from './unread-answers.ts';

export interface StreamDependencies {
  /** How long a caller may leave an answer unread, which holds a socket to the API. */
  readonly idleTimeoutMs: number;
  readonly socketShare: Pick<SocketShare, 'watch'>;
  readonly watchReading: WatchReading;
  readonly watchUnread: WatchUnread;
}

/**
 * Streams a body whose head was written, and resolves to how the call ended. The head leaves at once,
 * without the body. `through`: streams through which the body passes, which change it.
 */
export function streamAnswer(
  { call, dropsCookies }: Pick<Job, 'call' | 'dropsCookies'>,
  response: UpstreamResponse,
  { idleTimeoutMs, socketShare, watchReading, watchUnread }: StreamDependencies,
  through?: Streams,
): Promise<CallEnd> {
  const { outgoing } = call;
  const target: Writable = through?.[0] ?? outgoing;
  return new Promise((resolve) => {
    let unread: (() => void) | undefined;
    const limits = { idleMs: idleTimeoutMs, leastRate: 0 };
    const onUnread = (): void => {
      const why = `the caller read too little of the answer for ${idleTimeoutMs / 1000} s`;
      call.cutOff(new GatewayError('body-timeout', why));
    };
    target.on('drain', () => {
      unread?.();
      unread = undefined;
      response.resume();
    });
    outgoing.once('close', () => unread?.());
    const onArrived = socketShare.watch(call, () => unread !== undefined);
    if (through !== undefined) pipeTo(call, through, response, resolve);
    response.attach({
      chunk(bytes) {
        if (through === undefined) call.addBytesOut(bytes.length);
        if (target.write(bytes)) return true;
        unread ??= watchReading(outgoing, limits, onUnread);
        return false;
      },
      end(trailers) {
        onArrived();
        if (trailers.length > 0) {
          const dropped = dropsCookies ? SET_COOKIE : undefined;
          outgoing.addTrailers(pairs(headersForCaller(trailers, dropped)));
        }
        unread?.();
        target.end();
        if (through !== undefined) {
          // The exchange is over, so nothing else breaks the answer off.
          unread = watchReading(outgoing, limits, () => {
            resolve({ kind: 'failed', code: 'body-timeout' });
            breakOff(call);
          });
          return;
        }
        watchUnread(call, outgoing.writableLength);
        resolve(ANSWERED);
      },
      fail(failure) {
        onArrived();
        // The status was sent already, so only a broken connection shows the failure to the caller.
        breakOff(call);
        resolve(call.gone ? ABORTED : { kind: 'failed', code: brokenBody(failure).code });
      },
    });
    // Without a byte of the body, Node has not sent the head yet.
    const isOpen = !outgoing.writableEnded && !outgoing.destroyed;
    if (isOpen && call.bytesOut === 0) outgoing.flushHeaders();
  });
}

type Streams = (RewrittenBody & { kind: 'streams' })['streams'];

/** Connects the streams that a body passes through with the caller's answer; calls `onEnd`. */
function pipeTo(
  call: Call,
  through: Streams,
  response: UpstreamResponse,
  onEnd: (end: CallEnd) => void,
): void {
  const { outgoing } = call;
  // What cannot be decoded breaks the answer off, because its beginning was sent.
  const onError = (error: Error): void => {
    response.abort(error);
    onEnd({ kind: 'failed', code: 'upstream-protocol' });
    breakOff(call);
  };
  for (const each of through) each.on('error', onError);
  outgoing.once('close', () => {
    onEnd(outgoing.writableFinished ? ANSWERED : ABORTED);
    for (const each of through) each.destroy();
  });
  for (const [at, each] of through.entries()) each.pipe(through[at + 1] ?? outgoing);
  const last = through.at(-1);
  last?.on('data', (bytes: Buffer) => call.addBytesOut(bytes.length));
  last?.once('end', () => onEnd(ANSWERED));
}

/**
 * Ends an incomplete answer so that the caller cannot take it for complete. HTTP/1.0 ends an answer
 * of unknown length by closing the connection (RFC 9112 §6.3), so only a reset shows that bytes are
 * missing. Under TLS the missing close_notify shows it.
 */
export function breakOff({ incoming, outgoing }: Call): void {
  const { socket } = outgoing;
  const endsByClose =
    incoming.httpVersionMinor === 0 && socket !== null && !('encrypted' in socket);
  if (endsByClose) socket.resetAndDestroy();
  outgoing.destroy();
}

function pairs(flat: readonly string[]): [string, string][] {
  const found: [string, string][] = [];
  for (let i = 0; i + 1 < flat.length; i += 2) found.push([flat[i] ?? '', flat[i + 1] ?? '']);
  return found;
}

/** The problem of an answer whose body broke off. */
export function brokenBody({ reason, error }: BodyFailure): GatewayError {
  const code = reason === 'timeout' ? 'upstream-timeout' : 'upstream-protocol';
  return new GatewayError(code, "the API's answer broke off", { cause: error });
}
