import { setTimeout as sleep } from 'node:timers/promises';
import {
  learnTheTime,
  LIMIT,
  load,
  measured,
  startFleet,
  type LoadAnswer,
} from '../../test/support/redis-fleet.ts';
import { startRedis } from '../../test/support/redis-server.ts';
import type { Figure } from '../support/figures.ts';

const CALLS = 4 * LIMIT;
/** Half of what the budget allows: nobody has to wait for it. */
const PRESSURE = 0.5;

/** What callers of three replicas notice when the Redis that they share stops answering. */
export async function measureOutage(): Promise<Figure[]> {
  const redis = await startRedis();
  const fleet = await startFleet({
    redisUrl: redis.url,
    timeout: '100ms',
    api: { semantics: 'fixed' },
  });
  try {
    await learnTheTime(fleet);
    const usual = await load(fleet, { calls: CALLS, pressure: PRESSURE });
    const before = measured(fleet).length;
    const loaded = load(fleet, { calls: CALLS, pressure: PRESSURE });
    await sleep(2000);
    redis.signal('SIGSTOP');
    const during = await loaded;
    const seen = measured(fleet).slice(before);
    const failed = during.filter(({ answer }) => answer.status !== 200).length;
    const refused = seen.filter(({ status }) => status === 429).length;
    const what = '3 replicas, Redis stops under half the load';
    return [
      {
        what: `${what}: added to the p99`,
        value: Math.max(0, p99(during) - p99(usual)),
        unit: ' ms',
        goal: { at: 'most', bound: 150 },
      },
      {
        what: `${what}: answers that are not the API's`,
        value: failed,
        unit: '',
        goal: { at: 'most', bound: 0 },
      },
      {
        what: `${what}: refused by the API`,
        value: (100 * refused) / seen.length,
        unit: ' %',
        goal: { at: 'most', bound: 5 },
      },
    ];
  } finally {
    await fleet.close();
    await redis.stop();
  }
}

function p99(answers: readonly LoadAnswer[]): number {
  const took = answers.map(({ tookMs }) => tookMs).toSorted((a, b) => a - b);
  return took[Math.floor(took.length * 0.99)] ?? 0;
}
