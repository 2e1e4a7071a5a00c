import type { ServerResponse } from 'node:http';
import type { Transform } from 'node:stream';
import type { Clock, EndOfTurn } from '../util/clock.ts';
import { credentialOf } from '../http/credential-fields.ts';
import { headersForCaller, SET_COOKIE } from '../http/header-filter.ts';
import type { Log } from '../telemetry/log.ts';
import type { UpstreamResponse } from '../upstream/response.ts';
import { ABORTED, ANSWERED, type Call, type CallEnd } from './call.ts';
import type { Job } from './identify.ts';
import { corsFields } from './identify/preflight.ts';
import { asGatewayError, GatewayError, PROBLEMS, toProblem, type ShedStatus } from './problem.ts';
import { MAX_REWRITTEN_BYTES } from './respond/json-links.ts';
import { headersForRewritten, type Rewrite, type RewrittenBody } from './respond/link-rewrite.ts';
import {
  breakOff,
  brokenBody,
  streamAnswer,
  type StreamDependencies,
} from './respond/stream-answer.ts';
import type { WatchUnread } from './respond/unread-answers.ts';

/** Streams the API's answer to the caller, and returns how the call ended. */
export type Respond = (job: Job, response: UpstreamResponse) => Promise<CallEnd> | CallEnd;

/**
 * Answers a call with a problem instead of the API's answer, and returns how the call ended. Never
 * throws.
 */
export type Refuse = (call: Call, error: unknown, shedStatus: ShedStatus) => CallEnd;

export interface RespondDependencies extends StreamDependencies {
  readonly atEndOfTurn: EndOfTurn;
  readonly clock: Clock;
  /** Absent: nothing is rewritten. */
  readonly rewrite: Rewrite | undefined;
}

/**
 * How long the head of an answer is held for a body in which links may be rewritten. Most bodies are
 * complete by then, and keep their length; one that the API streams must not keep its caller waiting.
 */
const HOLD_MS = 250;

export function makeRespond(dependencies: RespondDependencies): Respond {
  const { atEndOfTurn, clock, rewrite, watchUnread } = dependencies;

  function passOn(job: Job, response: UpstreamResponse): Promise<CallEnd> | CallEnd {
    const whole = response.takeWhole();
    if (whole === undefined) return startStream(job, response);
    writeHead(job, response, rewrite);
    return end(job.call, whole);
  }

  /**
   * Sends the head at the end of the turn, although no byte of the body may have arrived: the caller
   * of an event stream or a long poll waits for it. An answer that breaks off before becomes a
   * problem. Node reports a connection that broke in this turn at the start of the next one.
   */
  async function startStream(job: Job, response: UpstreamResponse): Promise<CallEnd> {
    await endOfTurn();
    await endOfTurn();
    if (job.call.gone) return ABORTED;
    if (response.failure !== undefined) throw brokenBody(response.failure);
    writeHead(job, response, rewrite);
    const whole = response.takeWhole();
    if (whole !== undefined) return end(job.call, whole);
    return streamAnswer(job, response, dependencies);
  }

  function endOfTurn(): Promise<void> {
    return new Promise((resolve) => {
      atEndOfTurn(resolve);
    });
  }

  function end(call: Call, chunks: readonly Buffer[]): CallEnd {
    let bytes = 0;
    for (const chunk of chunks) bytes += chunk.length;
    call.addBytesOut(bytes);
    atEndOfTurn(() => {
      endWith(call.outgoing, chunks);
      watchUnread(call, bytes);
    });
    return ANSWERED;
  }

  /** Waits for the body, as far as links are rewritten in it. */
  async function gather(job: Job, response: UpstreamResponse, rewriter: Rewrite): Promise<CallEnd> {
    const gathered = await response.gatherInTime(MAX_REWRITTEN_BYTES, HOLD_MS, clock);
    if (job.call.gone) return ABORTED;
    if (gathered === 'slow') return respondSlow(job, response, rewriter);
    // Nothing was sent yet, so the caller can still receive a problem.
    if (gathered !== undefined) throw brokenBody(gathered);
    return response.isWhole
      ? respondRewritten(job, response, rewriter)
      : respondLarge(job, response, rewriter);
  }

  /** Sends the head at once, and each part of the body as it arrives. */
  function respondSlow(job: Job, response: UpstreamResponse, rewriter: Rewrite): Promise<CallEnd> {
    const streams = rewriter.streams(response, job.call);
    if (streams !== undefined) return streamThrough(job, response, rewriter, streams);
    writeHead(job, response, rewriter);
    return streamAnswer(job, response, dependencies);
  }

  /** Sends a body with the links in its gathered beginning rewritten, and streams the rest. */
  async function respondLarge(
    job: Job,
    response: UpstreamResponse,
    rewriter: Rewrite,
  ): Promise<CallEnd> {
    const { call } = job;
    const start = response.gathered;
    const rewritten = await rewriter.body(start, false, response, call);
    if (call.gone) return ABORTED;
    if (rewritten.kind === 'streams') {
      return streamThrough(job, response, rewriter, rewritten.streams);
    }
    if (rewritten.kind === 'bytes') {
      const { bytes } = rewritten;
      const length = lengthOf(response);
      const change = bytes.length - start.length;
      response.replaceGathered(bytes);
      writeHead(job, response, rewriter, {
        length: length === undefined ? undefined : length + change,
      });
    } else writeHead(job, response, rewriter);
    return streamAnswer(job, response, dependencies);
  }

  function streamThrough(
    job: Job,
    response: UpstreamResponse,
    rewriter: Rewrite,
    streams: readonly Transform[],
  ): Promise<CallEnd> {
    writeHead(job, response, rewriter, { length: undefined });
    return streamAnswer(job, response, dependencies, streams);
  }

  /** Waits for the whole body, if it is small enough, and sends it with its links rewritten. */
  function respondRewritten(
    job: Job,
    response: UpstreamResponse,
    rewriter: Rewrite,
  ): Promise<CallEnd> | CallEnd {
    const { call } = job;
    const whole = response.takeWhole();
    if (whole === undefined) return gather(job, response, rewriter);
    const finish = (rewritten: RewrittenBody): CallEnd | Promise<CallEnd> => {
      if (call.gone) return ABORTED;
      if (rewritten.kind === 'streams') {
        response.replaceGathered(asOne(whole));
        return streamThrough(job, response, rewriter, rewritten.streams);
      }
      if (rewritten.kind === 'unchanged') {
        writeHead(job, response, rewriter);
        return end(call, whole);
      }
      const { bytes } = rewritten;
      writeHead(job, response, rewriter, { length: bytes.length });
      return end(call, [bytes]);
    };
    const rewritten = rewriter.body(asOne(whole), true, response, call);
    return rewritten instanceof Promise ? rewritten.then(finish) : finish(rewritten);
  }

  return function respond(job, response) {
    const { call } = job;
    if (call.gone) {
      response.abort(new Error('the caller has gone'));
      return ABORTED;
    }
    return rewrite?.needsBody(response, call) === true
      ? respondRewritten(job, response, rewrite)
      : passOn(job, response);
  };
}

export interface RefuseDependencies {
  readonly log: Log;
  readonly watchUnread: WatchUnread;
  /** Whether a token is configured, which pages of other origins may not use. */
  readonly hasToken: boolean;
  /** Lower-case names of the fields besides Authorization that hold a credential. */
  readonly credentialFields: readonly string[];
}

export function makeRefuse(dependencies: RefuseDependencies): Refuse {
  const { log, watchUnread, hasToken, credentialFields } = dependencies;
  /** Whether a page of another origin may send this request, and so read its refusal. */
  function isForPages({ incoming }: Call, { code }: GatewayError): boolean {
    if (code === 'foreign-host' || code === 'cross-site') return false;
    return !hasToken || credentialOf(incoming.headers, credentialFields) !== undefined;
  }

  return function refuse(call, thrown, shedStatus) {
    const error = asGatewayError(thrown);
    const { outgoing } = call;
    const end = endFor(call, error);
    if (error.code === 'internal') log.error({ id: call.id, err: error.cause }, 'internal failure');
    if (outgoing.headersSent || outgoing.destroyed) {
      breakOff(call);
      return end;
    }
    const { status, headers, body } = toProblem(error, call.id, shedStatus);
    const bytes = Buffer.byteLength(body);
    call.addBytesOut(bytes);
    // Without `100 Continue` the caller does not send its body, and Node would read its next
    // request as that body.
    if (call.expectsContinue) outgoing.shouldKeepAlive = false;
    const cors = isForPages(call, error) ? corsFields(call.incoming) : [];
    outgoing.writeHead(status, [...headers, ...cors, 'Server-Timing', timing(call)]);
    outgoing.end(body);
    watchUnread(call, bytes);
    return end;
  };
}

/** A call that is gone has no caller to answer, unless Headgate itself cut it off. */
function endFor(call: Call, error: GatewayError): CallEnd {
  const { code } = error;
  if (call.gone && call.cutOffBy === undefined) return { kind: 'aborted', code };
  return { kind: PROBLEMS[code].status === 'shed' ? 'shed' : 'failed', code };
}

/**
 * Writes the head of the API's answer with what Headgate adds to it. `rewritten` is present if the
 * body is not the API's own; every other field is passed on unchanged.
 */
function writeHead(
  { call, dropsCookies }: Job,
  response: UpstreamResponse,
  rewrite: Rewrite | undefined,
  rewritten?: { readonly length: number | undefined },
): void {
  const coding = response.headers['transfer-encoding'];
  // Node decodes chunks and encodes them again. The bytes of any other coding would be passed on
  // without its name.
  if (coding !== undefined && !PASSABLE.test(String(coding))) {
    response.abort(new Error('a transfer coding that cannot be passed on'));
    throw new GatewayError(
      'upstream-protocol',
      `the API's answer is in a transfer coding that cannot be passed on: ${String(coding)}`,
    );
  }
  const passing = headersForCaller(response.rawHeaders, dropped(response.status, dropsCookies));
  const headers =
    rewritten === undefined ? passing : headersForRewritten(passing, rewritten.length);
  rewrite?.headers(headers, response, call);
  headers.push('Server-Timing', timing(call), 'Headgate-Request-Id', call.id);
  const { outgoing } = call;
  try {
    if (response.reason !== '') outgoing.statusMessage = response.reason;
    outgoing.writeHead(response.status, headers);
  } catch (cause) {
    outgoing.statusMessage = '';
    response.abort(new Error('unusable headers'));
    throw new GatewayError('upstream-protocol', "the API's answer has unusable headers", { cause });
  }
}

/** `identity`, which means no coding, was removed by RFC 7230; older servers still send it. */
const PASSABLE = /^(?:chunked|identity)$/i;
/** A 204 must not have a length (RFC 9110 §8.6). A 304 may have that of the 200 in its place. */
const LENGTH: ReadonlySet<string> = new Set(['content-length']);
const LENGTH_AND_COOKIES: ReadonlySet<string> = new Set([...LENGTH, ...SET_COOKIE]);

/** The fields of an answer that are not passed on, besides those of the connection. */
function dropped(status: number, dropsCookies: boolean): ReadonlySet<string> | undefined {
  if (status === 204) return dropsCookies ? LENGTH_AND_COOKIES : LENGTH;
  return dropsCookies ? SET_COOKIE : undefined;
}

/** Durations in milliseconds (W3C Server Timing). */
function timing({ waitMs, retryMs, upstreamMs }: Call): string {
  const retry = retryMs === 0 ? '' : `, retry;dur=${retryMs.toFixed(1)}`;
  return `queue;dur=${waitMs.toFixed(1)}, upstream;dur=${upstreamMs.toFixed(1)}${retry}`;
}

/** Sends head and body in one write. */
function endWith(outgoing: ServerResponse, chunks: readonly Buffer[]): void {
  if (chunks.length === 0) outgoing.end();
  else outgoing.end(asOne(chunks));
}

function asOne(chunks: readonly Buffer[]): Buffer {
  const [only] = chunks;
  return chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks);
}

/** The declared length of an answer. */
function lengthOf({ headers }: UpstreamResponse): number | undefined {
  const length = headers['content-length'];
  return typeof length === 'string' && headers['transfer-encoding'] === undefined
    ? Number(length)
    : undefined;
}
