import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Clock } from '../util/clock.ts';
import type { CallRecorder } from '../telemetry/call-line.ts';
import { toProblem, type GatewayError, type ShedStatus } from './problem.ts';

/**
 * Answers and records what came on a socket and is no request: there is no call to do it. `busy`
 * says that an earlier request of the same socket is still to be answered; then nothing is written,
 * for it would be taken for that one's answer. The method is empty when none could be read.
 */
export type RefuseSocket = (
  socket: Duplex,
  error: GatewayError,
  about: { readonly method: string; readonly busy: boolean },
) => void;

export interface RefuseSocketDependencies {
  readonly recorder: CallRecorder;
  readonly clock: Clock;
  readonly newId: () => string;
  readonly shedStatus: ShedStatus;
}

/** For a refusal to arrive. */
const LINGER_MS = 2000;

export function makeRefuseSocket(dependencies: RefuseSocketDependencies): RefuseSocket {
  const { recorder, clock, newId, shedStatus } = dependencies;

  /**
   * Lets a refused caller read why before the socket goes, and keeps it no longer: what it still
   * sends is not looked at, and it may never close its side.
   */
  function linger(socket: Duplex): void {
    const timer = clock.after(LINGER_MS, () => socket.destroy());
    socket.once('close', () => timer.cancel());
    socket.resume();
  }

  return function refuseSocket(socket, error, { method, busy }) {
    const id = newId();
    const { status, headers, body } = toProblem(error, id, shedStatus);
    const lines = [`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`, 'Connection: close'];
    for (let i = 0; i < headers.length; i += 2) lines.push(`${headers[i]}: ${headers[i + 1]}`);
    const writes = !busy && socket.writable;
    if (writes) {
      socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`);
      linger(socket);
    } else if (!busy) socket.destroy();
    recorder({
      id,
      caller: '',
      bucket: undefined,
      class: undefined,
      priority: undefined,
      method,
      // Its target was not normalised, so its secret parts could not be hidden.
      path: '',
      query: '',
      status: writes ? status : 0,
      outcome: 'failed',
      code: error.code,
      attempts: 0,
      waitMs: 0,
      upstreamMs: 0,
      totalMs: 0,
      bytesIn: 0,
      bytesOut: writes ? Buffer.byteLength(body) : 0,
      limit: undefined,
      remaining: undefined,
      resetInMs: undefined,
      waiting: 0,
    });
  };
}
