import type { Clock } from '../util/clock.ts';
import { tokenValue, type TokenField } from '../http/credential-fields.ts';
import { headersForCaller, SET_COOKIE } from '../http/header-filter.ts';
import type { Grant } from '../ledger/ledger.ts';
import type { Lane } from '../upstream/lane.ts';
import type { MeasureAttempt, SendResult } from '../upstream/exchange.ts';
import type { TokenSource } from '../upstream/token.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { Job } from './identify.ts';

/** The result of one attempt; `stale`: it waited in the lane until its lease may have expired. */
export type Forwarded = SendResult | { readonly kind: 'stale' };

/** Sends a granted job to the API, once. Never rejects. */
export type Forward = (job: Job, grant: Grant) => Promise<Forwarded>;

export interface ForwardDependencies {
  readonly upstream: Upstream;
  readonly lane: Lane;
  readonly clock: Clock;
  /** The current token for requests without a credential. */
  readonly token: Pick<TokenSource, 'current' | 'refused'>;
  readonly tokenField: TokenField;
  readonly measureAttempt: MeasureAttempt;
}

/**
 * The ledger counts a lease as spent after ten seconds. A request that the lane held for half of
 * that requests a new grant, so that it does not spend two operations.
 */
const GRANT_FRESH_MS = 5000;

/**
 * Requests that waited for the budget pass through their bucket's lane, so that a burst after a
 * reset does not take every socket at once. Requests that were granted immediately skip the lane,
 * and so do requests that waited for a socket, because sockets become free one by one.
 */
export function makeForward(dependencies: ForwardDependencies): Forward {
  const { upstream, lane, clock, token, tokenField, measureAttempt } = dependencies;
  async function send(job: Job): Promise<Forwarded> {
    const { call, body } = job;
    if (body.kind === 'stream') await body.checkCaller();
    if (call.gone) return notSent();
    const startedAt = clock.now();
    call.addAttempt();
    const added = job.addsToken ? token.current() : undefined;
    const sent = await upstream.send(
      {
        method: job.method,
        path: job.target,
        headers: withToken(job, added, tokenField),
        body: body.take(),
        closesSocket: job.authenticatesSocket,
      },
      call,
      (status, rawHeaders) => forwardInterim(job, status, rawHeaders),
    );
    const endedAt = sent.kind === 'answered' ? sent.receivedAt : clock.now();
    const durationMs = endedAt - startedAt;
    call.addUpstreamTime(durationMs);
    measureAttempt(job.method, sent, durationMs);
    if (added !== undefined && sent.kind === 'answered' && sent.response.status === 401) {
      token.refused(added);
    }
    return sent;
  }

  async function sendInTurn(job: Job, grant: Grant): Promise<Forwarded> {
    const { call, ticket } = job;
    const ran = await lane.run((grant.longestWaitAt ?? ticket.bucket).id, call, () => {
      call.addWait(clock.now() - grant.grantedAt);
      if (clock.now() - grant.grantedAt <= GRANT_FRESH_MS) return send(job);
      upstream.release();
      return Promise.resolve<Forwarded>({ kind: 'stale' });
    });
    return ran.kind === 'ran' ? ran.value : notSent();
  }

  return function forward(job, grant) {
    const { waitedFor } = grant;
    return waitedFor === 'budget' || waitedFor === 'reserve' ? sendInTurn(job, grant) : send(job);
  };

  function notSent(): Forwarded {
    upstream.release();
    return {
      kind: 'unsent',
      reason: 'aborted',
      error: new Error('the caller had gone before the request was sent'),
    };
  }
}

/** Adds the token immediately before sending, so that requests that waited use a rotated one. */
function withToken({ headers }: Job, token: string | undefined, field: TokenField): string[] {
  if (token === undefined) return headers;
  return [...headers, field.name, tokenValue(field, token)];
}

/**
 * Passes an interim answer on, such as early hints (103) or a sign of life (102). A gateway must
 * pass them on unless it requested them (RFC 9110 §15.2). An HTTP/1.0 caller gets none, because it
 * would take them for the answer. Node's `writeEarlyHints` throws for a Link field with several
 * links or a quoted word, which RFC 8288 allows, so it is not used.
 */
function forwardInterim(
  { call, dropsCookies }: Job,
  status: number,
  rawHeaders: readonly string[],
): void {
  const { incoming, outgoing } = call;
  if (outgoing.headersSent || outgoing.destroyed || incoming.httpVersionMinor === 0) return;
  // A caller that does not read must not fill the memory.
  if (outgoing.socket?.writableNeedDrain === true) return;
  const headers = headersForCaller(rawHeaders, dropsCookies ? SET_COOKIE : undefined);
  // Older versions of Node do not have the function, and an interim answer can be omitted.
  outgoing.writeInformation?.(status, headers);
}
