import { Pool } from 'undici';

export interface Load {
  /** The number of answers by status; calls without an answer count as `broken`. */
  readonly answers: ReadonlyMap<number | 'broken', number>;
  /** Sends no further call, and resolves when the last one is answered. */
  stop(): Promise<void>;
}

/** Callers that each send the next call as soon as the last one is answered. */
export function putLoadOn(url: string, { callers }: { callers: number }): Load {
  const pool = new Pool(url, { connections: callers });
  const answers = new Map<number | 'broken', number>();
  const headers = { authorization: 'token under-load' };
  const stopping = new AbortController();
  const caller = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      const status = await pool
        .request({ path: '/domains', method: 'GET', headers })
        .then(async ({ statusCode, body }) => {
          await body.dump();
          return statusCode;
        })
        .catch(() => 'broken' as const);
      answers.set(status, (answers.get(status) ?? 0) + 1);
    }
  };
  const all = Promise.all(Array.from({ length: callers }, caller));
  return {
    answers,
    async stop() {
      stopping.abort();
      await all;
      await pool.destroy();
    },
  };
}
