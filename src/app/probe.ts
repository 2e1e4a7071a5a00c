import { diagnoseApi } from '../diagnosis/api.ts';
import { diagnoseRedis } from '../diagnosis/redis.ts';
import type { Report } from '../diagnosis/way.ts';
import type { Config } from '../config/config.ts';
import { makeUpstream } from '../upstream/upstream.ts';
import { systemClock } from '../util/system-clock.ts';

/** How long the API's answer may take. */
const ANSWER_TIMEOUT_MS = 10_000;

/**
 * Tries the ways to the API and to Redis as the gateway goes them, and reports each step. Resolves to
 * whether each can be used; `undefined` if the settings name no Redis.
 */
export async function probe(
  { upstream: target, redis }: Pick<Config, 'upstream' | 'redis'>,
  report: { readonly api: Report; readonly redis: Report },
): Promise<{ readonly api: boolean; readonly redis: boolean | undefined }> {
  const upstream = makeUpstream({
    ...target,
    connections: 1,
    timeoutMs: ANSWER_TIMEOUT_MS,
    clock: systemClock,
  });
  try {
    return {
      api: await diagnoseApi(target, upstream, report.api),
      redis: redis === undefined ? undefined : await diagnoseRedis(redis, report.redis),
    };
  } finally {
    await upstream.close();
  }
}
