import { readFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { expect, onTestFinished, test } from 'vitest';
import { ask, type Answer } from '../support/ask.ts';
import { startAzion } from '../support/azion.ts';
import { startGatewayProcess } from '../support/gateway-process.ts';
import { bucketsOf, setUp, until } from '../support/setup.ts';

const TOKEN = 'token shared';
/** Fits the queue of new connections that Node asks of the kernel, of 511. */
const BATCH = 500;
/** Each count of a long queue costs the gateway time. */
const PATIENT = { everyMs: 50 };

/** The resident memory of a process, in MB. */
function residentMb(pid: number): number {
  const [, kilobytes = ''] =
    /^VmRSS:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kilobytes) / 1024;
}

test('of 10,000 requests at once, those above the queue’s bound are shed, and all others may disconnect', async () => {
  // A child process: twenty thousand ends of connections are more than one process may open.
  const limits = { read: { limit: 50_000, periodMs: 900_000 } };
  const azion = await startAzion({ semantics: 'fixed', limits, dialect: { reset: 'delta-float' } });
  onTestFinished(() => azion.close());
  const settings = {
    HEADGATE_MAX_QUEUE: '9000',
    HEADGATE_MAX_WAIT: '1h',
    HEADGATE_MAX_CONNECTIONS: '15000',
    HEADGATE_MAX_CONNECTIONS_PER_ADDRESS: '15000',
  };
  const gateway = await startGatewayProcess({ upstream: azion.url, settings });
  onTestFinished(() => gateway.stop());
  azion.consume(TOKEN, 'read', 49_999);
  const opened = await ask(`${gateway.url}/domains`, { headers: { authorization: TOKEN } });
  expect(opened.headers['x-ratelimit-remaining']).toBe('0');

  const leave = new AbortController();
  const agent = new Agent({ maxSockets: Infinity });
  const shed: { caller: string; answer: Answer }[] = [];
  const failures = new Map<string, number>();
  let sent = 0;
  const send = (caller: string): void => {
    sent++;
    const headers = { authorization: TOKEN, 'headgate-caller': caller };
    ask(`${gateway.url}/domains`, { headers, agent, signal: leave.signal }).then(
      (answer) => shed.push({ caller, answer }),
      (error: Error) => failures.set(error.name, (failures.get(error.name) ?? 0) + 1),
    );
  };
  /** In batches: a connection beyond the queue of new ones is tried again late, or fails. */
  const sendAll = async (caller: string, count: number): Promise<void> => {
    for (let left = count; left > 0; left -= BATCH) {
      for (let i = 0; i < Math.min(BATCH, left); i++) send(caller);
      await until(
        `${sent} are waiting or shed`,
        async () => {
          const [bucket] = await bucketsOf(gateway);
          // One that failed would be waited for without end.
          expect(Object.fromEntries(failures)).toEqual({});
          return (bucket?.waiting ?? 0) + shed.length === sent;
        },
        PATIENT,
      );
    }
  };
  await sendAll('hog', 8900);
  await sendAll('guest', 100);
  await sendAll('hog', 1000);

  const [full] = await bucketsOf(gateway);
  expect(full).toMatchObject({ waiting: 9000, waitingHereByCaller: { hog: 8900, guest: 100 } });
  expect(shed).toHaveLength(1000);
  for (const { caller, answer } of shed) {
    expect(caller).toBe('hog');
    expect(answer.status).toBe(503);
    expect(answer.headers['headgate-error']).toBe('queue-full');
    expect(answer.headers['retry-after']).toMatch(/^[1-9]\d*$/);
  }
  // A waiting request takes about 20 kB: its socket, its headers and a ticket.
  expect(residentMb(gateway.pid)).toBeLessThan(700);

  leave.abort();
  await until(
    'all have disconnected',
    async () => (await bucketsOf(gateway))[0]?.waiting === 0,
    PATIENT,
  );
  const lines = await gateway.log.wait('call', 10_001);
  const outcomes = new Map<unknown, number>();
  for (const { outcome } of lines) outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  expect(Object.fromEntries(outcomes)).toEqual({ answered: 1, shed: 1000, aborted: 9000 });
  expect(new Set(lines.map(({ id }) => id)).size).toBe(10_001);
  expect(azion.operations).toBe(1);
});

test('11,000 random credentials leave at most 10,000 buckets', async () => {
  const { azion, gateway } = await setUp({}, { settings: { HEADGATE_LOG_LEVEL: 'warn' } });
  const agent = new Agent({ keepAlive: true, maxSockets: 32 });
  onTestFinished(() => agent.destroy());
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < 11_000) {
      const authorization = `token ${(next++).toString(36)}-${Math.random()}`;
      const { status } = await ask(`${gateway.url}/variables`, {
        headers: { authorization },
        agent,
      });
      expect(status).toBe(200);
    }
  };
  await Promise.all(Array.from({ length: 32 }, worker));
  expect(azion.operations).toBe(11_000);
  const buckets = await bucketsOf(gateway);
  expect(buckets.length).toBeLessThanOrEqual(10_000);
  expect(buckets.length).toBeGreaterThan(5000);
});
