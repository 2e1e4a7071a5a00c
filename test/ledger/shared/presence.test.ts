import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { ReplicaPresence } from '../../../src/ledger/shared/presence.ts';
import type { RedisStore } from '../../../src/ledger/shared/redis/store.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const TIMEOUT_MS = 100;
const OWN_KEY = Buffer.alloc(32, 'own');
const OTHER_KEY = Buffer.alloc(32, 'other');

type Reply = Awaited<ReturnType<RedisStore['presence']>>;

function setUp({ key = 'proposed' }: { key?: 'proposed' | 'stated' } = {}) {
  const clock = new FakeClock();
  /** The key that each announcement proposed. */
  const proposals: string[] = [];
  const agreedKeys: Buffer[] = [];
  const troubles: string[] = [];
  const state = {
    isSharedInUse: true,
    reply: (proposal: string): Promise<Reply> =>
      Promise.resolve({ replicas: 1, agreedKey: proposal }),
  };
  const presence = new ReplicaPresence({
    store: {
      presence(proposal) {
        proposals.push(proposal);
        return state.reply(proposal);
      },
    },
    clock,
    timeoutMs: TIMEOUT_MS,
    proposedKey: key === 'proposed' ? OWN_KEY : undefined,
    onKeyAgreed: (agreed) => agreedKeys.push(agreed),
    isSharedInUse: () => state.isSharedInUse,
    onTrouble: ({ message }) => troubles.push(message),
  });
  /** Moves the clock on in steps, and lets promises settle after each. */
  async function advance(ms: number, stepMs = 10): Promise<void> {
    for (let passed = 0; passed < ms; passed += stepMs) {
      clock.advance(Math.min(stepMs, ms - passed));
      await nextTurn();
    }
  }
  return { clock, presence, proposals, agreedKeys, troubles, state, advance };
}

const failing = (): Promise<Reply> => Promise.reject(new Error('Redis is away'));
const silent = (): Promise<Reply> => new Promise(() => undefined);

describe('the start', () => {
  test('ends with the first announcement that succeeds', async () => {
    const { presence, proposals, troubles, state, advance } = setUp();
    state.reply = failing;
    let started = false;
    void presence.start().then(() => (started = true));
    await advance(500);
    expect(started).toBe(false);
    state.reply = () => Promise.resolve({ replicas: 3, agreedKey: undefined });
    await advance(20);
    expect(started).toBe(true);
    expect(presence.replicas).toBe(3);
    expect(proposals.length).toBeGreaterThan(10);
    expect(troubles).toEqual([]);
    presence.close();
  });

  test.each([
    ['refuses', failing, 'Redis is away'],
    ['does not answer', silent, 'no answer within 100 ms'],
  ])('gives up after 2 seconds if Redis %s, and reports it once', async (_what, reply, reason) => {
    const { presence, troubles, state, advance } = setUp();
    state.reply = reply;
    let started = false;
    void presence.start().then(() => (started = true));
    await advance(1990);
    expect([started, troubles]).toEqual([false, []]);
    await advance(200);
    expect([started, troubles]).toEqual([true, [reason]]);
    expect(presence.replicas).toBe(1);
    presence.close();
  });
});

describe('an announcement', () => {
  test('is made every 2 seconds', async () => {
    const { presence, proposals, advance } = setUp();
    await presence.start();
    expect(proposals).toHaveLength(1);
    await advance(1990);
    expect(proposals).toHaveLength(1);
    await advance(10);
    expect(proposals).toHaveLength(2);
    await advance(10_000);
    expect(proposals).toHaveLength(7);
    presence.close();
  });

  test('is left to the probes of the failover while the shared ledger is not in use', async () => {
    const { presence, proposals, state, advance } = setUp();
    await presence.start();
    state.isSharedInUse = false;
    await advance(10_000);
    expect(proposals).toHaveLength(1);
    state.isSharedInUse = true;
    await advance(2000);
    expect(proposals).toHaveLength(2);
    presence.close();
  });

  test('that fails or takes too long is reported, and the next one is still made', async () => {
    const { presence, proposals, troubles, state, advance } = setUp();
    await presence.start();
    state.reply = failing;
    await advance(2000);
    state.reply = silent;
    await advance(2200);
    expect(troubles).toEqual(['Redis is away', 'no answer within 100 ms']);
    state.reply = () => Promise.resolve({ replicas: 2, agreedKey: undefined });
    await advance(2000);
    expect(proposals).toHaveLength(4);
    expect(presence.replicas).toBe(2);
    presence.close();
  });

  test('counts this replica even if Redis counts none', async () => {
    const { presence, state } = setUp();
    state.reply = () => Promise.resolve({ replicas: 0, agreedKey: undefined });
    await presence.announce();
    expect(presence.replicas).toBe(1);
  });
});

describe('the key of the bucket names', () => {
  test('is the agreed one, also where another replica proposed it', async () => {
    const { presence, proposals, agreedKeys, state } = setUp();
    const agreedKey = OTHER_KEY.toString('base64url');
    state.reply = () => Promise.resolve({ replicas: 2, agreedKey });
    await presence.announce();
    await presence.announce();
    expect(agreedKeys).toEqual([OTHER_KEY]);
    expect(proposals).toEqual([OWN_KEY.toString('base64url'), agreedKey]);
  });

  test('stays the proposed one if the replicas agree on that', async () => {
    const { presence, agreedKeys } = setUp();
    await presence.announce();
    expect(agreedKeys).toEqual([]);
  });

  test('is not proposed if the settings state it', async () => {
    const { presence, proposals, agreedKeys, state } = setUp({ key: 'stated' });
    state.reply = () => Promise.resolve({ replicas: 2, agreedKey: undefined });
    await presence.announce();
    expect(proposals).toEqual(['']);
    expect(agreedKeys).toEqual([]);
    expect(presence.replicas).toBe(2);
  });
});

describe('a close', () => {
  test('stops the announcements', async () => {
    const { clock, presence, proposals, advance } = setUp();
    await presence.start();
    presence.close();
    await advance(10_000);
    expect(proposals).toHaveLength(1);
    expect(clock.pending).toBe(0);
  });

  test('during an announcement starts no further one', async () => {
    const { clock, presence, proposals, troubles, state, advance } = setUp();
    await presence.start();
    state.reply = silent;
    await advance(2000);
    presence.close();
    await advance(10_000);
    expect(proposals).toHaveLength(2);
    expect(troubles).toEqual(['no answer within 100 ms']);
    expect(clock.pending).toBe(0);
  });

  test('during the start ends the start', async () => {
    const { clock, presence, troubles, state, advance } = setUp();
    state.reply = failing;
    let started = false;
    void presence.start().then(() => (started = true));
    await advance(100);
    presence.close();
    await advance(20);
    expect(started).toBe(true);
    expect(troubles).toEqual([]);
    expect(clock.pending).toBe(0);
  });
});
