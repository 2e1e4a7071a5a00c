// @module-tag needs-redis-server
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  FAULTS_OF_REDIS,
  OTHER_FAULTS,
  ProxiedReplicas,
  type FaultResult,
} from '../support/redis-faults.ts';
import { ledgersOf } from '../support/redis-fleet.ts';
import { until } from '../support/setup.ts';

/**
 * How much of the budget is overrun during a fault depends on the machine: `npm run bench -- faults`
 * measures it. Here no caller may notice the fault, and the API must serve each call once.
 */
function noticed({ calls, statuses, missing, repeated }: FaultResult): object {
  const { 200: served = 0, ...others } = statuses;
  return { unserved: calls - served, others, missing, repeated };
}

const NOTHING = { unserved: 0, others: {}, missing: 0, repeated: 0 };
const ONE_BY_ONE = { concurrent: false };

describe.concurrent('no caller of the same replicas notices that', () => {
  const closers: (() => Promise<unknown>)[] = [];
  let replicas: ProxiedReplicas;
  beforeAll(async () => {
    replicas = await ProxiedReplicas.start((close) => closers.push(close));
  });
  afterAll(async () => {
    for (const close of closers.toReversed()) await close();
  });

  test.for(Object.entries(FAULTS_OF_REDIS))('%s', ONE_BY_ONE, async ([, run]) => {
    expect(noticed(await run(replicas))).toEqual(NOTHING);
  });

  // The last one, because Redis does not continue.
  test('Redis stops for ever, of which all replicas log a warning', ONE_BY_ONE, async () => {
    const { fleet, redis } = replicas;
    const result = await replicas.during(async () => redis.signal('SIGSTOP'));
    expect(noticed(result)).toEqual(NOTHING);
    await until('all work alone', async () => (await ledgersOf(fleet)).every((l) => l === 'local'));
    for (const { log } of fleet.replicas) {
      expect(log.named('ledger').at(-1)).toMatchObject({ level: 'warn', ledger: 'local' });
    }
  });
});

describe.concurrent('no caller notices that', () => {
  test.for(Object.entries(OTHER_FAULTS))('%s', async ([, run]) => {
    const closers: (() => Promise<unknown>)[] = [];
    try {
      const result = await run((close) => closers.push(close));
      expect(noticed(result)).toEqual(NOTHING);
    } finally {
      for (const close of closers.toReversed()) await close();
    }
  });
});
