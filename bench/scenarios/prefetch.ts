import type { Semantics } from '../../test/support/limiter.ts';
import { learnTheTime, measured, startFleet } from '../../test/support/redis-fleet.ts';
import { askAll, stepsOf, WIDE } from '../../test/support/redis-prefetch.ts';
import { startRedis } from '../../test/support/redis-server.ts';
import type { Figure } from '../support/figures.ts';

const CALLS = WIDE.limit * 5;

/** Three replicas before a limit that is wide enough to prefetch from: refusals, and steps per call. */
export async function measurePrefetch(): Promise<Figure[]> {
  return [...(await prefetch('fixed')), ...(await prefetch('sliding'))];
}

async function prefetch(semantics: Semantics): Promise<Figure[]> {
  const redis = await startRedis();
  const fleet = await startFleet({
    redisUrl: redis.url,
    api: { semantics, limits: { read: WIDE } },
  });
  try {
    await learnTheTime(fleet);
    const before = await stepsOf(fleet);
    const answers = await askAll(fleet, CALLS);
    const steps = (await stepsOf(fleet)) - before;
    const what = `3 replicas, a wide ${semantics} limit`;
    return [
      {
        what: `${what}: 429s of the API`,
        value: measured(fleet).filter(({ status }) => status === 429).length,
        unit: '',
        goal: { at: 'most', bound: 0 },
      },
      {
        what: `${what}: answers to callers other than 200`,
        value: answers.filter(({ status }) => status !== 200).length,
        unit: '',
        goal: { at: 'most', bound: 0 },
      },
      {
        what: `${what}: steps per call`,
        value: steps / CALLS,
        unit: '',
        goal: { at: 'most', bound: 0.5 },
      },
    ];
  } finally {
    await fleet.close();
    await redis.stop();
  }
}
