import { describe, expect, test } from 'vitest';
import { ask, type Answer } from '../support/ask.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { setUp, until } from '../support/setup.ts';

const KEY = 'billing-key-0123456789';
const TOKEN = 'operators-only-0123456789';
const settings = { HEADGATE_CALLER_KEYS: `billing=${KEY}`, HEADGATE_ADMIN_TOKEN: TOKEN };

interface Guarded {
  readonly listener: 'callers' | 'admin';
  readonly tooMany: string;
  readonly right: Record<string, string>;
  readonly wrong: Record<string, string>;
}

const LISTENERS: readonly Guarded[] = [
  {
    listener: 'callers',
    tooMany: 'too-many-unknown-keys',
    right: { 'headgate-key': KEY, authorization: 'token abc' },
    wrong: { 'headgate-key': `${KEY}x` },
  },
  {
    listener: 'admin',
    tooMany: 'too-many-wrong-tokens',
    right: { authorization: `Bearer ${TOKEN}` },
    wrong: { authorization: `Bearer ${TOKEN}x` },
  },
];

/** A gateway whose clock stands still, and clients of one of its listeners. */
async function start({ listener, right, wrong }: Guarded) {
  const clock = new FakeClock();
  const { gateway } = await setUp({}, { settings, clock });
  const url = listener === 'admin' ? `${gateway.adminUrl}/buckets` : `${gateway.url}/domains`;
  const failures = async (): Promise<number> => {
    const { text } = await ask(`${gateway.adminUrl}/metrics`);
    const counter = `headgate_auth_failures_total{listener="${listener}"} `;
    return Number(
      text
        .split('\n')
        .find((line) => line.startsWith(counter))
        ?.split(' ')[1],
    );
  };
  const failed = (count: number): Promise<void> =>
    until(`${count} requests failed`, async () => (await failures()) === count);
  const client = {
    ok: (): Promise<Answer> => ask(url, { headers: right }),
    fail: (from?: string): Promise<Answer> =>
      ask(url, { headers: wrong, ...(from === undefined ? {} : { from }) }),
    failUntil: (signal: AbortSignal): Promise<unknown> =>
      ask(url, { headers: wrong, signal }).catch((error: unknown) => error),
  };
  /** Fails ten times, which is answered at once. */
  async function useUpFree(): Promise<void> {
    for (let i = 0; i < 10; i++) expect((await client.fail()).status).toBe(401);
  }
  return { clock, gateway, client, failed, useUpFree };
}

describe.each(LISTENERS)('the $listener listener', (guarded) => {
  test('delays the eleventh wrong key of an address by a second, and no right one', async () => {
    const { clock, gateway, client, failed, useUpFree } = await start(guarded);
    await useUpFree();
    let isAnswered = false;
    const delayed = client.fail().finally(() => (isAnswered = true));
    await failed(11);
    expect((await client.ok()).status).toBe(200);
    // An address of its own, as another host has.
    expect((await client.fail('127.0.0.2')).status).toBe(401);
    expect(isAnswered).toBe(false);
    clock.advance(1000);
    expect((await delayed).status).toBe(401);
    expect(gateway.log.named('auth failures')).toMatchObject([
      { level: 'warn', listener: guarded.listener, address: '127.0.0.1', failures: 1, total: 1 },
      { level: 'warn', listener: guarded.listener, address: '127.0.0.2', failures: 1, total: 12 },
    ]);
    expect(gateway.log.text).not.toMatch(/billing-key|operators-only/);
  });

  test('answers 429 while ten answers to an address are delayed, but serves a right key', async () => {
    const { clock, client, failed, useUpFree } = await start(guarded);
    await useUpFree();
    const delayed = Array.from({ length: 10 }, () => client.fail());
    await failed(20);
    const refused = await client.fail();
    expect(refused.status).toBe(429);
    expect(refused.headers['headgate-error']).toBe(guarded.tooMany);
    expect(refused.headers['retry-after']).toBe('60');
    expect((await client.ok()).status).toBe(200);
    clock.advance(1000);
    for (const { status } of await Promise.all(delayed)) expect(status).toBe(401);
  });

  test('ends a delay when its client disconnects, and at the end of the gateway', async () => {
    const { clock, gateway, client, failed, useUpFree } = await start(guarded);
    await useUpFree();
    const idle = clock.pending;
    const leaving = new AbortController();
    const left = Array.from({ length: 10 }, () => client.failUntil(leaving.signal));
    await failed(20);
    expect(clock.pending).toBe(idle + 10);
    leaving.abort();
    await Promise.all(left);
    await until('no delay is left', () => clock.pending === idle);
    const last = client.fail().catch((error: unknown) => error);
    await failed(21);
    expect(clock.pending).toBe(idle + 1);
    await gateway.stop();
    await last;
    expect(clock.pending).toBeLessThanOrEqual(idle);
  });
});
