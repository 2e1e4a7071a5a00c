import type { Clock } from '../../src/util/clock.ts';
import { systemClock } from '../../src/util/system-clock.ts';
import { startApi } from './api.ts';
import { makeMeter, type Meter, type MeterAnswer, type MeterOptions } from './several-limits.ts';

export interface LimitedApiOptions {
  /** Its clock, which its latency uses as well; the host's by default. */
  readonly clock?: Clock;
  /** How far the API's own clock is ahead of that. */
  readonly skewMs?: number;
  /** Milliseconds before it counts and answers. */
  readonly latencyMs?: () => number;
}

/** One request that the API counted or refused. */
export interface LimitedCall extends MeterAnswer {
  /** On the API's own clock. */
  readonly atMs: number;
  readonly method: string;
  readonly path: string;
  readonly credential: string;
}

export interface LimitedApi {
  readonly url: string;
  readonly meter: Meter;
  /** All requests so far, oldest first. */
  readonly calls: readonly LimitedCall[];
  /** Requests that it holds for its latency now. */
  readonly delayed: number;
  close(): Promise<void>;
}

/** Starts an API on 127.0.0.1 that counts each request in several limits, by its Authorization. */
export async function startLimitedApi(
  limits: MeterOptions,
  { clock = systemClock, skewMs = 0, latencyMs = () => 0 }: LimitedApiOptions = {},
): Promise<LimitedApi> {
  const meter = makeMeter(limits);
  const calls: LimitedCall[] = [];
  let delayed = 0;
  const api = await startApi((incoming, outgoing) => {
    const { method = 'GET', url = '/', headers } = incoming;
    const chunks: Buffer[] = [];
    const answer = (): void => {
      const atMs = clock.wallMs() + skewMs;
      const [path = '/'] = url.split('?', 1);
      const credential = headers.authorization ?? '';
      const body = Buffer.concat(chunks).toString();
      const answered = meter.answer({ method, path, credential, body }, atMs);
      calls.push({ ...answered, atMs, method, path, credential });
      outgoing.sendDate = false;
      outgoing.writeHead(answered.status, {
        ...answered.headers,
        date: new Date(atMs).toUTCString(),
        'content-type': 'application/json',
      });
      outgoing.end(method === 'HEAD' ? undefined : '{}');
    };
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => {
      const ms = latencyMs();
      if (ms <= 0) return answer();
      delayed++;
      clock.after(ms, () => {
        delayed--;
        answer();
      });
    });
  });
  return {
    url: api.url,
    meter,
    calls,
    get delayed() {
      return delayed;
    },
    close: () => api.close(),
  };
}
