import type { Log } from '../telemetry/log.ts';
import type { Clock, Timer } from '../util/clock.ts';
import type { TokenSource } from './token.ts';

/** A token, and how long it is used before it is renewed; absent: as long as the API accepts it. */
export interface ObtainedToken {
  readonly token: string;
  readonly renewAfterMs: number | undefined;
}

export interface RenewedTokenOptions {
  /** Rejects with an error that shows no token. `last` is the token in use. */
  readonly obtain: (last: string | undefined, signal: AbortSignal) => Promise<ObtainedToken>;
  readonly clock: Clock;
  readonly log: Pick<Log, 'info' | 'error'>;
}

/** The shortest time between two renewals, unless an operator asks for one. */
const RETRY_MS = 60_000;

/**
 * Makes a token that is obtained at the start, and again when its time is over, when the API refuses
 * it, and when an operator asks for it. While that fails, the last token stays in use, and it is tried
 * again once a minute. Rejects if the first attempt fails.
 */
export async function makeRenewedToken(options: RenewedTokenOptions): Promise<TokenSource> {
  const { obtain, clock, log } = options;
  const ending = new AbortController();
  let startedAt = clock.now();
  let obtained = await obtain(undefined, ending.signal);
  let isRenewing = false;
  let timer: Timer | undefined;
  renewAfter(obtained.renewAfterMs);

  function renewAfter(ms: number | undefined): void {
    timer?.cancel();
    timer = ms === undefined ? undefined : clock.after(ms, () => void renew());
  }

  async function renew(): Promise<void> {
    if (isRenewing || ending.signal.aborted) return;
    isRenewing = true;
    startedAt = clock.now();
    timer?.cancel();
    let nextMs: number | undefined = RETRY_MS;
    try {
      const { token } = obtained;
      obtained = await obtain(token, ending.signal);
      nextMs = obtained.renewAfterMs;
      if (obtained.token !== token) log.info({}, 'token renewed');
    } catch (err) {
      if (!ending.signal.aborted) log.error({ err }, 'token not renewed: keeping the last token');
    }
    isRenewing = false;
    if (!ending.signal.aborted) renewAfter(nextMs);
  }

  return {
    current: () => obtained.token,
    refused(token) {
      if (token !== obtained.token || clock.now() - startedAt < RETRY_MS) return;
      void renew();
    },
    renew: () => void renew(),
    close() {
      timer?.cancel();
      ending.abort();
    },
  };
}
