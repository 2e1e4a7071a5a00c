import { Pool } from 'undici';
import { expect, onTestFinished, test } from 'vitest';
import { startAzion, type Azion } from '../support/azion.ts';
import { startChild, type Child } from './child.ts';

const PLENTY = { limit: 1_000_000, periodMs: 60_000 };

interface Load {
  /** Calls that were answered so far, by status; broken ones are `broken`. */
  readonly answers: ReadonlyMap<number | 'broken', number>;
  /** Sends no further call, and resolves when the last is answered. */
  stop(): Promise<void>;
}

/** Eight callers that each ask for the next thing as soon as they have the last one. */
function putLoadOn(url: string): Load {
  const pool = new Pool(url, { connections: 8 });
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
  const all = Promise.all(Array.from({ length: 8 }, caller));
  return {
    answers,
    async stop() {
      stopping.abort();
      await all;
      await pool.destroy();
    },
  };
}

async function start(
  env: Record<string, string> = {},
): Promise<{ api: Azion; gateway: Child; load: Load }> {
  const api = await startAzion({ limits: { read: PLENTY } });
  onTestFinished(() => api.close());
  const gateway = await startChild({ env: { HEADGATE_UPSTREAM_URL: api.url, ...env } });
  onTestFinished(() => gateway.stop());
  const load = putLoadOn(gateway.url);
  onTestFinished(() => load.stop());
  await gateway.waitUntil(() => gateway.count('call') >= 50);
  return { api, gateway, load };
}

test('settings that are read again under load cost no call', async () => {
  const { api, gateway, load } = await start();
  for (let i = 1; i <= 5; i++) {
    const before = gateway.count('call');
    gateway.kill('SIGHUP');
    await gateway.waitUntil(
      () => gateway.count('reloaded') === i && gateway.count('call') >= before + 20,
    );
  }
  await load.stop();
  expect([...load.answers.keys()]).toEqual([200]);
  expect(load.answers.get(200)).toBe(api.operations);
});

test('a load balancer that asks for readiness loses no call when a replica stops', async () => {
  const { api, gateway, load } = await start({ HEADGATE_DRAIN_DELAY: '2s' });
  gateway.kill('SIGTERM');
  for (;;) {
    const { status } = await fetch(`${gateway.adminUrl}/health/ready`);
    if (status === 503) break;
  }
  await load.stop();
  expect(await gateway.ended()).toEqual({ code: 0, signal: null });
  expect([...load.answers.keys()]).toEqual([200]);
  expect(load.answers.get(200)).toBe(api.operations);
  expect(gateway.count('call')).toBe(api.operations);
});
