import type { ServerResponse } from 'node:http';
import type { Clock, EndOfTurn, Timer } from '../util/clock.ts';
import { headersForCaller } from '../http/hop-by-hop.ts';
import type { Log } from '../telemetry/log.ts';
import type { BodyFailure, UpstreamResponse } from '../upstream/response.ts';
import type { Call } from './call.ts';
import type { Job } from './job.ts';
import { asGatewayError, GatewayError, PROBLEMS, toProblem, type ShedStatus } from './problem.ts';
import { headersForRewritten, MOST_REWRITTEN, type Rewrite } from './rewrite.ts';

/** Streams the API's answer to the caller; resolves when it is over. */
export type Respond = (job: Job, response: UpstreamResponse) => Promise<void> | void;

/** Answers a call that gets no answer of the API's. Never throws. */
export type Refuse = (call: Call, error: unknown, shedStatus: ShedStatus) => void;

export interface RespondDependencies {
  readonly atEndOfTurn: EndOfTurn;
  /** Absent: nothing is rewritten, every byte passes. */
  readonly rewrite: Rewrite | undefined;
  readonly clock: Clock;
  /** Milliseconds that a caller may leave an answer unread, which keeps a socket to the API. */
  readonly idleTimeoutMs: number;
}

export function makeRespond(dependencies: RespondDependencies): Respond {
  const { atEndOfTurn, rewrite, clock, idleTimeoutMs } = dependencies;

  function passOn(call: Call, response: UpstreamResponse): Promise<void> | void {
    writeHead(call, response, rewrite);
    const whole = response.whole();
    return whole === undefined
      ? stream(call, response, { clock, idleTimeoutMs })
      : end(call, whole);
  }

  function end(call: Call, chunks: readonly Buffer[]): void {
    for (const chunk of chunks) call.bytesOut += chunk.length;
    call.end('answered');
    atEndOfTurn(() => endWith(call.outgoing, chunks));
  }

  /** For a body of which some is still to come: once there is too much of it, it passes as it is. */
  async function gather(call: Call, response: UpstreamResponse, through: Rewrite): Promise<void> {
    const failure = await response.gather(MOST_REWRITTEN);
    if (call.gone) return call.end('aborted');
    // Nothing was sent yet, so the caller can still be told what happened.
    if (failure !== undefined) throw brokenBody(failure);
    return response.isWhole ? respondRewritten(call, response, through) : passOn(call, response);
  }

  /** Waits for the whole body, if it is small enough, and sends it with its links rewritten. */
  function respondRewritten(
    call: Call,
    response: UpstreamResponse,
    through: Rewrite,
  ): Promise<void> | void {
    const whole = response.whole();
    if (whole === undefined) return gather(call, response, through);
    const finish = (rewritten: Buffer | undefined): void => {
      if (call.gone) return call.end('aborted');
      writeHead(call, response, through, rewritten);
      end(call, rewritten === undefined ? whole : [rewritten]);
    };
    const rewritten = through.body(asOne(whole), response, call.incoming);
    return rewritten instanceof Promise ? rewritten.then(finish) : finish(rewritten);
  }

  return function respond({ call }, response) {
    if (call.gone) {
      response.abort(new Error('the caller is gone'));
      return call.end('aborted');
    }
    return rewrite?.wantsBody(response, call.incoming) === true
      ? respondRewritten(call, response, rewrite)
      : passOn(call, response);
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
    const left = call.gone && call.cut !== error;
    call.end(left ? 'aborted' : shed ? 'shed' : 'failed', error.code);
    if (error.code === 'internal') log.error({ id: call.id, err: error.cause }, 'internal failure');
    if (outgoing.headersSent || outgoing.destroyed) {
      breakOff(call);
      return;
    }
    const { status, headers, body } = toProblem(error, call.id, shedStatus);
    call.bytesOut = Buffer.byteLength(body);
    // A body that was not asked for will not come, and what follows would be taken for it.
    if (call.expectsContinue) outgoing.shouldKeepAlive = false;
    outgoing.writeHead(status, [...headers, 'Server-Timing', timing(call)]);
    outgoing.end(body);
  };
}

/**
 * What Headgate adds to the API's answer; everything else passes as it came, unless `rewritten`
 * takes the body's place.
 */
function writeHead(
  call: Call,
  response: UpstreamResponse,
  rewrite: Rewrite | undefined,
  rewritten?: Buffer,
): void {
  const coding = response.headers['transfer-encoding'];
  // Chunks are taken off and made anew. Of any other coding the bytes would pass, and its name would not.
  if (coding !== undefined && !PASSABLE.test(String(coding))) {
    response.abort(new Error('a transfer coding that is not passed on'));
    throw new GatewayError(
      'upstream-protocol',
      `the API's answer is in a transfer coding that cannot be passed on: ${String(coding)}`,
    );
  }
  const passing = headersForCaller(
    response.rawHeaders,
    response.status === 204 ? LENGTH : undefined,
  );
  const headers = rewritten === undefined ? passing : headersForRewritten(passing, rewritten);
  rewrite?.headers(headers, response, call.incoming);
  headers.push('Server-Timing', timing(call), 'Headgate-Request-Id', call.id);
  try {
    call.outgoing.writeHead(response.status, headers);
  } catch (cause) {
    response.abort(new Error('unusable headers'));
    throw new GatewayError('upstream-protocol', "the API's answer has unusable headers", { cause });
  }
}

/** `identity`, which is none, was given up with RFC 7230, and there are older servers. */
const PASSABLE = /^(?:chunked|identity)$/i;
/** A 204 must not have one (RFC 9110 §8.6); a 304 may have that of what it stands for. */
const LENGTH: ReadonlySet<string> = new Set(['content-length']);

/** RFC-free but common: durations in milliseconds (W3C Server Timing). */
function timing({ waitMs, upstreamMs }: Call): string {
  return `queue;dur=${waitMs.toFixed(1)}, upstream;dur=${upstreamMs.toFixed(1)}`;
}

/** Head and body leave in one write when the body is one piece. */
function endWith(outgoing: ServerResponse, chunks: readonly Buffer[]): void {
  if (chunks.length === 0) outgoing.end();
  else outgoing.end(asOne(chunks));
}

function asOne(chunks: readonly Buffer[]): Buffer {
  const [only] = chunks;
  return chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks);
}

function brokenBody({ reason, error }: BodyFailure): GatewayError {
  const code = reason === 'timeout' ? 'upstream-timeout' : 'upstream-protocol';
  return new GatewayError(code, "the API's answer broke off", { cause: error });
}

function stream(
  call: Call,
  response: UpstreamResponse,
  { clock, idleTimeoutMs }: Pick<RespondDependencies, 'clock' | 'idleTimeoutMs'>,
): Promise<void> {
  const { outgoing } = call;
  return new Promise((resolve) => {
    let unread: Timer | undefined;
    const leave = (): void => {
      const why = `the caller read nothing of the answer for ${idleTimeoutMs / 1000} s`;
      call.cutOff(new GatewayError('body-timeout', why));
    };
    outgoing.on('drain', () => {
      unread?.cancel();
      unread = undefined;
      response.resume();
    });
    outgoing.once('close', () => unread?.cancel());
    response.attach({
      chunk(bytes) {
        call.bytesOut += bytes.length;
        if (outgoing.write(bytes)) return true;
        unread ??= clock.after(idleTimeoutMs, leave);
        return false;
      },
      end(trailers) {
        if (trailers.length > 0) outgoing.addTrailers(pairs(trailers));
        outgoing.end();
        call.end('answered');
        resolve();
      },
      fail(failure) {
        // The status is out already: only a broken connection tells the caller the truth.
        breakOff(call);
        if (call.gone) call.end('aborted');
        else call.end('failed', brokenBody(failure).code);
        resolve();
      },
    });
  });
}

/**
 * Ends an answer so that what came of it cannot pass for all of it. The end of a connection is how
 * HTTP/1.0 ends an answer of unknown length (RFC 9112 §6.3), so there only a reset says that some is
 * missing; under TLS it is the missing close_notify that does.
 */
function breakOff({ incoming, outgoing }: Call): void {
  const { socket } = outgoing;
  const closes = incoming.httpVersionMinor === 0 && socket !== null && !('encrypted' in socket);
  if (closes) socket.resetAndDestroy();
  outgoing.destroy();
}

function pairs(flat: readonly string[]): [string, string][] {
  const found: [string, string][] = [];
  for (let i = 0; i + 1 < flat.length; i += 2) found.push([flat[i] ?? '', flat[i + 1] ?? '']);
  return found;
}
