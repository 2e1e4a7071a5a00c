import { Agent } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ask, type Answer } from '../support/ask.ts';
import { startAzion, type Azion, type SeenCall } from '../support/azion.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import type { Semantics } from '../support/limiter.ts';
import { utilisationOf } from '../support/utilisation.ts';

const LIMIT = 60;
const PERIOD_MS = 5000;
const BUDGETS = 6;
const CALLERS = ['billing', 'console', 'dns-sync', 'purger', 'reports'];
const SEMANTICS: readonly Semantics[] = ['fixed', 'aligned', 'sliding', 'leaky'];
const TOKEN = 'token one-for-all';

interface Run {
  readonly azion: Azion;
  readonly gateway: TestGateway;
  readonly agent: Agent;
  readonly answers: Answer[];
  /** What the API saw of the measured calls, in its order. */
  readonly seen: readonly SeenCall[];
  readonly warmUps: number;
}

/**
 * One gateway before one API, five callers, three times as many calls as the API lets through, the
 * whole time until all are answered: `BUDGETS` budgets in as many periods.
 */
async function saturate(semantics: Semantics): Promise<Run> {
  const azion = await startAzion({
    semantics,
    limits: { read: { limit: LIMIT, periodMs: PERIOD_MS } },
    latencyMs: () => 2 + 6 * Math.random(),
  });
  const gateway = await startGateway({ upstream: azion.url });
  const agent = new Agent({ keepAlive: true, maxSockets: Infinity });
  const warmUps = await learnTheTime(gateway.url, agent);
  const perCaller = (LIMIT * BUDGETS) / CALLERS.length;
  const everyMs = (PERIOD_MS * CALLERS.length) / (LIMIT * 3);
  const calls = CALLERS.map(async (caller) => {
    const pending: Promise<Answer>[] = [];
    for (let i = 0; i < perCaller; i++) {
      const headers = { authorization: TOKEN, 'headgate-caller': caller };
      pending.push(ask(`${gateway.url}/domains?page=1&call=${i}`, { headers, agent }));
      await sleep(everyMs);
    }
    return Promise.all(pending);
  });
  const answers = (await Promise.all(calls)).flat();
  const seen = azion.seen.filter(({ headers }) => headers.authorization === TOKEN);
  return { azion, gateway, agent, answers, seen, warmUps };
}

/**
 * The API tells its time in whole seconds, so the gateway knows it to a second at first and sharper
 * the more answers it has seen come in just after a second began. Calls on another credential's
 * budget, over a little more than a second, leave some 20 ms of doubt, as a minute of ordinary use
 * would; a window lost to that doubt would say nothing about the model.
 */
async function learnTheTime(url: string, agent: Agent): Promise<number> {
  const pending: Promise<Answer>[] = [];
  for (let i = 0; i < 80; i++) {
    pending.push(ask(`${url}/domains`, { headers: { authorization: 'token warm-up' }, agent }));
    await sleep(15);
  }
  return (await Promise.all(pending)).length;
}

/** On the API's side, from the middle of the third budget: by then there is always somebody waiting. */
function utilisationSeen(seen: readonly SeenCall[]): number {
  const counted = seen.filter((call) => call.counted);
  const halfAt: number[] = [];
  for (let i = LIMIT * 2.5; i < counted.length; i += LIMIT) halfAt.push(counted[i]?.atMs ?? 0);
  return utilisationOf(halfAt, PERIOD_MS);
}

describe('five callers that want three times what the API gives', () => {
  const runs = new Map<Semantics, Run>();
  const runOf = (semantics: Semantics): Run => {
    const run = runs.get(semantics);
    if (run === undefined) throw new Error(`${semantics} was not run`);
    return run;
  };

  beforeAll(async () => {
    await Promise.all(
      SEMANTICS.map(async (semantics) => runs.set(semantics, await saturate(semantics))),
    );
  });

  afterAll(async () => {
    for (const { azion, gateway, agent } of runs.values()) {
      agent.destroy();
      await gateway.stop();
      await azion.close();
    }
  });

  describe.each(SEMANTICS)('before a %s limit', (semantics) => {
    test('see no 429 and no error', () => {
      const { answers } = runOf(semantics);
      expect(answers).toHaveLength(LIMIT * BUDGETS);
      for (const { status, complete, text } of answers) {
        expect(status).toBe(200);
        expect(complete).toBe(true);
        expect(JSON.parse(text)).toMatchObject({ schema_version: 3 });
      }
    });

    test('make the API send no 429', () => {
      expect(runOf(semantics).azion.throttled).toBe(0);
    });

    test('get at least 0.96 of what the API can give', () => {
      expect(utilisationSeen(runOf(semantics).seen)).toBeGreaterThanOrEqual(0.96);
    });

    test('leave one log line for each call', async () => {
      const { gateway, answers, warmUps } = runOf(semantics);
      const lines = await gateway.log.wait('call', answers.length + warmUps);
      const ids = new Set(lines.map((line) => line['id']));
      expect(lines).toHaveLength(answers.length + warmUps);
      expect(ids.size).toBe(lines.length);
      const asked = answers.map(({ headers }) => headers['headgate-request-id']);
      expect(asked.filter((id) => !ids.has(id))).toEqual([]);
      expect(gateway.log.forged).toEqual([]);
    });

    test('are served alike', async () => {
      // The log is written in the order of serving; at half time everybody still has calls waiting.
      const lines = await runOf(semantics).gateway.log.wait('call', LIMIT * BUDGETS);
      const ours = lines.filter((line) => CALLERS.includes(String(line['caller'])));
      const served = CALLERS.map(
        (caller) =>
          ours.slice(0, (LIMIT * BUDGETS) / 2).filter((line) => line['caller'] === caller).length,
      );
      expect(jain(served)).toBeGreaterThanOrEqual(0.98);
    });
  });
});

/** Jain's fairness index: 1 when all have the same, 1/n when one has it all. */
function jain(shares: readonly number[]): number {
  const sum = shares.reduce((total, share) => total + share, 0);
  const squares = shares.reduce((total, share) => total + share * share, 0);
  return (sum * sum) / (shares.length * squares);
}
