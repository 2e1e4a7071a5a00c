import type { IncomingMessage } from 'node:http';
import {
  bodyLength,
  NO_BODY,
  readBody,
  type BodyLimits,
  type GoneBody,
  type RequestBody,
} from '../upstream/body.ts';
import type { BodyMemory } from '../upstream/body-memory.ts';
import type { Call } from './call.ts';
import { GatewayError } from './problem.ts';

/**
 * Takes in a call's body, or as much of it as is kept. What goes wrong meanwhile cuts the call off
 * with its reason. Answers without a promise when nothing has to be read.
 */
export type TakeBody = (call: Call, owner: string) => RequestBody | Promise<RequestBody | GoneBody>;

export interface TakeBodyDependencies {
  readonly limits: BodyLimits;
  readonly memory: BodyMemory;
}

/**
 * Node undoes the chunks and nothing else. What else was done to the body for this hop would reach
 * the API undone by nobody and named by nothing (RFC 9112 §6.1).
 */
function refuseOtherCodings({ headers }: IncomingMessage): void {
  const codings = headers['transfer-encoding']?.trim().toLowerCase();
  if (codings === 'chunked') return;
  const got = JSON.stringify(codings?.slice(0, 80));
  throw new GatewayError('bad-request', `Transfer-Encoding: expected chunked, got ${got}`);
}

/** Bodies come and go in about the time of a call. */
const MEMORY_RETRY_MS = 1000;

export function makeTakeBody({ limits, memory }: TakeBodyDependencies): TakeBody {
  const { mostBytes, idleTimeoutMs } = limits;

  function tooLarge(): GatewayError {
    return new GatewayError('body-too-large', `expected a body of at most ${mostBytes} bytes`);
  }

  return function takeBody(call, owner) {
    const { incoming } = call;
    const length = bodyLength(incoming);
    if (length === 0) return NO_BODY;
    if (length === 'unknown') refuseOtherCodings(incoming);
    if (length !== 'unknown' && length > mostBytes) throw tooLarge();
    const holding = memory.hold({
      owner,
      flow: `${call.priority} ${call.caller}`,
      get waits() {
        return !call.sending;
      },
      evict() {
        const why = 'waiting bodies take all the memory they may, and this flow holds most of it';
        call.cutOff(new GatewayError('body-memory-full', why, { retryAfterMs: MEMORY_RETRY_MS }));
      },
    });
    call.holding = holding;
    const source = {
      incoming,
      get gone() {
        return call.gone;
      },
      get over() {
        return call.gone || call.outgoing.writableEnded;
      },
      onGone: (listener: () => void) => call.onGone(listener),
      count(bytes: number) {
        call.bytesIn += bytes;
      },
      letBodyCome: () => call.letBodyCome(),
      held: (bytes: number) => holding.grow(bytes),
      stalled() {
        const why = `no byte of the body came for ${idleTimeoutMs / 1000} s`;
        call.cutOff(new GatewayError('body-timeout', why));
      },
      tooLarge: () => call.cutOff(tooLarge()),
    };
    return readBody(source, limits);
  };
}
