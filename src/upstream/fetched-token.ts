import { readIsoTimestamp } from '../rate-headers/timestamps.ts';
import type { CallerSignal } from '../ledger/ledger.ts';
import type { Log } from '../telemetry/log.ts';
import type { Clock } from '../util/clock.ts';
import type { ObtainedToken } from './renewed-token.ts';
import type { TokenFormat } from './token.ts';
import type { Upstream } from './upstream.ts';

/** A token, and how long the API still accepts it; `undefined`: the API does not say. */
export interface ValidToken {
  readonly token: string;
  readonly validMs: number | undefined;
}

export interface TokenFetchOptions {
  readonly upstream: Pick<Upstream, 'take' | 'send'>;
  /** The path for `POST`, with the base path. */
  readonly path: string;
  /** The value of Accept. */
  readonly accept: string;
  /** `user:password`, for Basic authentication. */
  readonly login: string;
  readonly format: TokenFormat;
}

const MAX_ANSWER_BYTES = 64 * 1024;

/**
 * Returns a function that fetches a new token from the API with `POST` and Basic authentication. The
 * answer is JSON with `token`, `created_at` and `expires_at`. Both times are the API's, so their
 * difference needs no clock of ours. Its errors show neither login nor token.
 */
export function makeTokenFetch(
  options: TokenFetchOptions,
): (signal: AbortSignal) => Promise<ValidToken> {
  const { upstream, path, accept, login, format } = options;
  const authorization = `Basic ${Buffer.from(login).toString('base64')}`;
  const headers = ['Authorization', authorization, 'Accept', accept, 'Accept-Encoding', 'identity'];

  return async (signal) => {
    if (!upstream.take()) throw new Error('expected a free socket to the API, got none');
    const request = { method: 'POST', path, headers, body: null, closesSocket: false };
    const sent = await upstream.send(request, signalOf(signal), () => undefined);
    if (sent.kind !== 'answered') {
      const { message } = sent.error;
      throw new Error(`expected an answer of the API, got none: ${message}`, { cause: sent.error });
    }
    const { response } = sent;
    if (response.status !== 200 && response.status !== 201) {
      response.discard();
      throw new Error(`expected the status 201 with a token, got ${response.status}`);
    }
    const failure = await response.gather(MAX_ANSWER_BYTES);
    const body = response.takeWhole();
    if (body === undefined) {
      response.abort(new Error('no token'));
      throw new Error('expected a complete answer with a token', { cause: failure?.error });
    }
    return readAnswer(Buffer.concat(body).toString(), format);
  };
}

function readAnswer(text: string, { expected, parse }: TokenFormat): ValidToken {
  const answer = new Map<string, unknown>(Object.entries(parsed(text)));
  const given = answer.get('token');
  const token = typeof given === 'string' ? parse(given) : undefined;
  if (token === undefined) {
    throw new Error(`expected JSON with a token of ${expected}, got ${text.length} characters`);
  }
  const [created, expires] = [timeOf(answer.get('created_at')), timeOf(answer.get('expires_at'))];
  const isKnown = created !== undefined && expires !== undefined && expires > created;
  return { token, validMs: isKnown ? expires - created : undefined };
}

function parsed(text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    // The caller reports that there is no token.
    return {};
  }
}

function timeOf(value: unknown): number | undefined {
  return typeof value === 'string' ? readIsoTimestamp(value) : undefined;
}

function signalOf(signal: AbortSignal): CallerSignal {
  return {
    gone: signal.aborted,
    onGone(listener) {
      signal.addEventListener('abort', listener, { once: true });
      return () => signal.removeEventListener('abort', listener);
    },
  };
}

/** Where the replicas share a token. Its functions reject if it cannot be reached. */
export interface TokenVault {
  /** The token of the fleet, and how long it is still valid. */
  read(): Promise<ValidToken | undefined>;
  write(token: ValidToken): Promise<void>;
  /** Takes the right to fetch a token for the fleet; false if another replica has it for now. */
  claim(): Promise<boolean>;
}

export interface FleetTokenOptions {
  readonly fetch: (signal: AbortSignal) => Promise<ValidToken>;
  /** Absent: this process shares its token with no other. */
  readonly vault: TokenVault | undefined;
  readonly clock: Clock;
  readonly log: Pick<Log, 'warn'>;
}

/** The share of its validity for which a token is used. */
const USED_SHARE = 0.8;
/** How long and how often a replica looks for the token that another one fetches. */
const OTHER_FETCHES_MS = 10_000;
const LOOK_EVERY_MS = 250;

/**
 * Returns a function that obtains the token of the fleet: the one that another replica has fetched, or
 * a new one, for which one replica at a time has the right. A replica that cannot reach the others
 * fetches a token for itself.
 */
export function makeFleetToken(
  options: FleetTokenOptions,
): (last: string | undefined, signal: AbortSignal) => Promise<ObtainedToken> {
  const { fetch, vault, clock, log } = options;

  /** The fleet's token if it is another than `last`; `claimed`: this replica must fetch one. */
  async function fromFleet(
    store: TokenVault,
    last: string | undefined,
    signal: AbortSignal,
  ): Promise<ValidToken | 'claimed' | undefined> {
    const giveUpAt = clock.now() + OTHER_FETCHES_MS;
    do {
      const shared = await store.read();
      if (shared !== undefined && shared.token !== last) return shared;
      if (await store.claim()) return 'claimed';
      await new Promise<void>((resolve) => void clock.after(LOOK_EVERY_MS, resolve));
    } while (clock.now() < giveUpAt && !signal.aborted);
    return undefined;
  }

  async function share(store: TokenVault, token: ValidToken): Promise<void> {
    try {
      await store.write(token);
    } catch (err) {
      log.warn({ err }, 'token not shared');
    }
  }

  return async (last, signal) => {
    if (vault === undefined) return obtained(await fetch(signal));
    let found: ValidToken | 'claimed' | undefined;
    try {
      found = await fromFleet(vault, last, signal);
    } catch (err) {
      log.warn({ err }, 'token not shared');
    }
    if (found !== undefined && found !== 'claimed') return obtained(found);
    const token = await fetch(signal);
    if (found === 'claimed') await share(vault, token);
    return obtained(token);
  };
}

/** A token that another replica fetched is renewed by all at about the same time, and one fetches. */
function obtained({ token, validMs }: ValidToken): ObtainedToken {
  return { token, renewAfterMs: validMs === undefined ? undefined : validMs * USED_SHARE };
}
