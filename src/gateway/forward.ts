import type { Clock } from '../util/clock.ts';
import { headersForCaller } from '../http/hop-by-hop.ts';
import type { Grant } from '../ledger/ledger.ts';
import type { Lane } from '../upstream/lane.ts';
import type { Sent } from '../upstream/exchange.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { Call } from './call.ts';
import type { Job } from './job.ts';

/** What became of one attempt; `stale` was held back so long that its grant may be void. */
export type Forwarded = Sent | { readonly kind: 'stale' };

/** Sends a granted job to the API, once. Never rejects. */
export type Forward = (job: Job, grant: Grant) => Promise<Forwarded>;

export interface ForwardDependencies {
  readonly upstream: Upstream;
  readonly lane: Lane;
  readonly clock: Clock;
  /** The Authorization value for callers that sent none, as it is at this moment. */
  readonly token: () => string | undefined;
}

/**
 * A lease counts as spent after ten seconds; a request that the lane held for half of that goes
 * back for a new grant rather than spend a slot twice.
 */
const GRANT_FRESH_MS = 5000;

/**
 * Requests that waited for the budget pass through their bucket's lane, so that what a reset
 * releases does not take every socket at once. A request that was granted on the spot does not, nor
 * one that waited for a socket: those come one by one.
 */
export function makeForward({ upstream, lane, clock, token }: ForwardDependencies): Forward {
  async function send(job: Job): Promise<Forwarded> {
    const { call, body } = job;
    if (body.kind === 'stream') await body.probe();
    if (call.gone) return neverSent();
    const startedAt = clock.now();
    call.attempts++;
    const sent = await upstream.send(
      {
        method: job.method,
        path: job.target,
        headers: withToken(job, token()),
        body: body.take(),
      },
      call,
      (rawHeaders) => forwardInformational(call, rawHeaders),
    );
    const endedAt = sent.kind === 'answered' ? sent.receivedAt : clock.now();
    call.upstreamMs += endedAt - startedAt;
    return sent;
  }

  return async function forward(job, grant) {
    if (grant.waitedFor !== 'budget') return send(job);
    const { call, ticket } = job;
    const ran = await lane.run(ticket.bucket.id, call, () => {
      call.waitMs += clock.now() - grant.grantedAt;
      if (clock.now() - grant.grantedAt <= GRANT_FRESH_MS) return send(job);
      upstream.release();
      return Promise.resolve<Forwarded>({ kind: 'stale' });
    });
    return ran.kind === 'ran' ? ran.value : neverSent();
  };

  function neverSent(): Forwarded {
    upstream.release();
    return { kind: 'unsent', reason: 'aborted', error: new Error('the caller left before') };
  }
}

/** The token goes in at the last moment, so that a rotated one serves requests that waited. */
function withToken({ headers, takesToken }: Job, token: string | undefined): string[] {
  if (!takesToken || token === undefined) return headers;
  return [...headers, 'Authorization', `token ${token}`];
}

/**
 * Passes early hints on while the answer is not there yet (RFC 8297). HTTP/1.0 knows no news ahead
 * of an answer, and would take them for it (RFC 9110 §15.2). Not by Node's `writeEarlyHints`, which
 * throws at a Link field that lists several links or quotes a word, as RFC 8288 allows.
 */
function forwardInformational({ incoming, outgoing }: Call, rawHeaders: readonly string[]): void {
  if (outgoing.headersSent || outgoing.destroyed || incoming.httpVersionMinor === 0) return;
  const hints = headersForCaller(rawHeaders);
  // Older Nodes cannot say it: a hint that does not come is none that anybody misses.
  if (hints.length > 0) outgoing.writeInformation?.(103, hints);
}
