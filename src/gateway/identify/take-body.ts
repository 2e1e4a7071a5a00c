import type { IncomingMessage } from 'node:http';
import {
  bodyLength,
  NO_BODY,
  readBody,
  type BodyLimits,
  type GoneBody,
  type RequestBody,
} from '../../upstream/body.ts';
import type { RequestMemory } from '../../upstream/request-memory.ts';
import type { Call } from '../call.ts';
import { GatewayError } from '../problem.ts';
import { unreadBodyBytes } from '../connections/request-bytes.ts';
import type { SocketShare } from '../connections/socket-share.ts';

/**
 * Reads a call's body, or prepares to stream it if it is too large to keep. A failure cuts off the
 * call. `owner` is the party that the queue is fair to. Returns without a promise when nothing has to
 * be read.
 */
export type TakeBody = (call: Call, owner: string) => RequestBody | Promise<RequestBody | GoneBody>;

export interface TakeBodyDependencies {
  readonly limits: BodyLimits;
  readonly memory: RequestMemory;
  readonly socketShare: Pick<SocketShare, 'watch'>;
}

/**
 * Throws a {@link GatewayError} for transfer codings besides chunked. Node decodes chunks only, so
 * the API would receive a body in another coding without its name (RFC 9112 §6.1).
 */
function refuseOtherCodings({ headers }: IncomingMessage): void {
  const codings = headers['transfer-encoding']?.trim().toLowerCase();
  if (codings === 'chunked') return;
  const got = JSON.stringify(codings?.slice(0, 80));
  throw new GatewayError('bad-request', `Transfer-Encoding: expected chunked, got ${got}`);
}

export function makeTakeBody(dependencies: TakeBodyDependencies): TakeBody {
  const { limits, memory, socketShare } = dependencies;
  const { keepBytes, mostBytes, idleTimeoutMs, leastRate } = limits;

  function tooLarge(): GatewayError {
    return new GatewayError('body-too-large', `expected a body of at most ${mostBytes} bytes`);
  }

  return function takeBody(call, owner) {
    const { incoming } = call;
    const length = bodyLength(incoming);
    if (length === 0) return NO_BODY;
    if (length === 'unknown') refuseOtherCodings(incoming);
    if (length !== 'unknown' && length > mostBytes) throw tooLarge();
    call.holdMemory(memory, owner);
    // A body of known length that is too large to keep is not read before it is sent.
    if (length !== 'unknown' && length > keepBytes) call.holdBody(unreadBodyBytes(incoming));
    const source = {
      incoming,
      get gone() {
        return call.gone;
      },
      get ended() {
        return call.gone || call.outgoing.writableEnded;
      },
      onGone: (listener: () => void) => call.onGone(listener),
      received(bytes: number) {
        call.addBytesIn(bytes);
      },
      sendContinue: () => call.sendContinue(),
      kept: (bytes: number) => call.holdBody(bytes),
      stalled() {
        const why = `no byte of the body arrived for ${idleTimeoutMs / 1000} s`;
        call.cutOff(new GatewayError('body-timeout', why));
      },
      tooSlow() {
        const why = `the body arrived at less than ${leastRate} bytes a second`;
        call.cutOff(new GatewayError('body-timeout', why));
      },
      sending: (reading: () => boolean) => socketShare.watch(call, reading),
      tooLarge: () => call.cutOff(tooLarge()),
    };
    return readBody(source, limits);
  };
}
