import { ask, type Answer } from './ask.ts';
import type { LimiterOptions } from './limiter.ts';
import { TOKEN, type Fleet } from './redis-fleet.ts';

/** A limit that is wide enough for replicas to prefetch. */
export const WIDE: LimiterOptions = { limit: 800, periodMs: 1500 };

const CALLERS = 60;

/** Sends `calls` calls; each caller sends the next one as soon as the last one is answered. */
export async function askAll({ replicas, agent }: Fleet, calls: number): Promise<Answer[]> {
  const answers: Answer[] = [];
  let next = 0;
  async function callOn(caller: number): Promise<void> {
    const url = replicas[caller % replicas.length]?.url ?? '';
    const headers = { authorization: TOKEN, 'headgate-caller': `caller-${caller}` };
    while (next < calls) {
      answers.push(await ask(`${url}/domains?call=${next++}`, { headers, agent }));
    }
  }
  await Promise.all(Array.from({ length: CALLERS }, (_, caller) => callOn(caller)));
  return answers;
}

/** The number of steps in Redis that all replicas have run. */
export async function stepsOf({ replicas }: Fleet): Promise<number> {
  let steps = 0;
  for (const { adminUrl } of replicas) {
    const { text } = await ask(`${adminUrl}/metrics`);
    steps += Number(/^headgate_ledger_step_seconds_count (\d+)$/m.exec(text)?.[1]);
  }
  return steps;
}
