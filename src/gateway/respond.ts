import type { ServerResponse } from 'node:http';
import { endToEnd } from '../core/hop-by-hop.ts';
import type { Log } from '../telemetry/log.ts';
import type { UpstreamResponse } from '../upstream/exchange.ts';
import type { Call } from './call.ts';
import type { EndOfTurn } from './end-of-turn.ts';
import type { Job } from './job.ts';
import { asGatewayError, GatewayError, PROBLEMS, toProblem, type ShedStatus } from './problem.ts';

/** Streams the API's answer to the caller, bytes untouched; resolves when it is over. */
export type Respond = (job: Job, response: UpstreamResponse) => Promise<void> | void;

/** Answers a call that gets no answer of the API's. Never throws. */
export type Refuse = (call: Call, error: unknown, shedStatus: ShedStatus) => void;

export interface RespondDependencies {
  readonly atEndOfTurn: EndOfTurn;
}

export function makeRespond({ atEndOfTurn }: RespondDependencies): Respond {
  return function respond({ call }, response) {
    const { outgoing } = call;
    if (call.gone) {
      response.abort(new Error('the caller is gone'));
      return call.end('aborted');
    }
    writeHead(call, response);
    const whole = response.whole();
    if (whole !== undefined) {
      for (const chunk of whole) call.bytesOut += chunk.length;
      call.end('answered');
      atEndOfTurn(() => endWith(outgoing, whole));
      return undefined;
    }
    return stream(call, response);
  };
}

export interface RefuseDependencies {
  readonly log: Log;
}

export function makeRefuse({ log }: RefuseDependencies): Refuse {
  return function refuse(call, thrown, shedStatus) {
    const error = asGatewayError(thrown);
    const { outgoing } = call;
    const shed = PROBLEMS[error.code].status === 'shed';
    call.end(call.gone ? 'aborted' : shed ? 'shed' : 'failed', error.code);
    if (error.code === 'internal') log.error({ id: call.id, err: error.cause }, 'internal failure');
    if (outgoing.headersSent || outgoing.destroyed) {
      outgoing.destroy();
      return;
    }
    const { status, headers, body } = toProblem(error, call.id, shedStatus);
    call.bytesOut = Buffer.byteLength(body);
    outgoing.writeHead(status, [...headers, 'Server-Timing', timing(call)]);
    outgoing.end(body);
  };
}

/** What Headgate adds to the API's answer; everything else passes as it came. */
function writeHead(call: Call, response: UpstreamResponse): void {
  const headers = endToEnd(response.rawHeaders);
  headers.push('Server-Timing', timing(call), 'Headgate-Request-Id', call.id);
  try {
    call.outgoing.writeHead(response.status, headers);
  } catch (cause) {
    response.abort(new Error('unusable headers'));
    throw new GatewayError('upstream-protocol', "the API's answer has unusable headers", { cause });
  }
}

/** RFC-free but common: durations in milliseconds (W3C Server Timing). */
function timing({ waitMs, upstreamMs }: Call): string {
  return `queue;dur=${waitMs.toFixed(1)}, upstream;dur=${upstreamMs.toFixed(1)}`;
}

/** Head and body leave in one write when the body is one piece. */
function endWith(outgoing: ServerResponse, chunks: readonly Buffer[]): void {
  const [only] = chunks;
  if (only === undefined) outgoing.end();
  else outgoing.end(chunks.length === 1 ? only : Buffer.concat(chunks));
}

function stream(call: Call, response: UpstreamResponse): Promise<void> {
  const { outgoing } = call;
  return new Promise((resolve) => {
    outgoing.on('drain', () => response.resume());
    response.attach({
      chunk(bytes) {
        call.bytesOut += bytes.length;
        return outgoing.write(bytes);
      },
      end(trailers) {
        if (trailers.length > 0) outgoing.addTrailers(pairs(trailers));
        outgoing.end();
        call.end('answered');
        resolve();
      },
      fail({ reason }) {
        // The status is out already: only a broken connection tells the caller the truth.
        outgoing.destroy();
        if (call.gone) call.end('aborted');
        else call.end('failed', reason === 'timeout' ? 'upstream-timeout' : 'upstream-protocol');
        resolve();
      },
    });
  });
}

function pairs(flat: readonly string[]): [string, string][] {
  const found: [string, string][] = [];
  for (let i = 0; i + 1 < flat.length; i += 2) found.push([flat[i] ?? '', flat[i + 1] ?? '']);
  return found;
}
