import { makeClient } from './headgate-client.ts';

export interface OpenLoad {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly perSecond: number;
  readonly seconds: number;
}

/** What callers noticed that came at their own pace. */
export interface OpenLoopSeen {
  /** Milliseconds from a call to the end of its answer, one for each call. */
  readonly tookMs: readonly number[];
  /** Answers that were not 200, and calls that had none. */
  readonly errors: number;
}

/** Calls that may be out at once; a server that falls so far behind has failed. */
const MOST_OUT = 5000;

/**
 * Open-loop load: calls come at a fixed rate whatever becomes of those before, as those of many
 * callers do. So a server that stands still is charged with all that comes meanwhile, which
 * closed-loop load never notices.
 */
export async function openLoop({
  url,
  headers,
  perSecond,
  seconds,
}: OpenLoad): Promise<OpenLoopSeen> {
  const client = makeClient();
  const total = perSecond * seconds;
  const tookMs: number[] = [];
  let errors = 0;
  let begun = 0;
  const startedAt = performance.now();
  await new Promise<void>((resolve, reject) => {
    const over = (): void => {
      if (tookMs.length + errors === total) resolve();
    };
    const call = (): void => {
      client.call(url, headers).then(
        ({ status, ms }) => {
          if (status === 200) tookMs.push(ms);
          else errors++;
          over();
        },
        () => {
          errors++;
          over();
        },
      );
    };
    const tick = (): void => {
      const due = Math.min(total, ((performance.now() - startedAt) * perSecond) / 1000);
      for (; begun < due; begun++) call();
      if (begun - tookMs.length - errors > MOST_OUT) {
        reject(new Error(`${url} does not keep up with ${perSecond} calls a second`));
      } else if (begun < total) setTimeout(tick, 1);
    };
    tick();
  });
  client.close();
  return { tookMs, errors };
}
