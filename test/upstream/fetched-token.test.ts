import { describe, expect, test } from 'vitest';
import {
  makeFleetToken,
  type TokenVault,
  type ValidToken,
} from '../../src/upstream/fetched-token.ts';
import type { ObtainedToken } from '../../src/upstream/renewed-token.ts';
import { FakeClock } from '../support/fake-clock.ts';

const DAY = 86_400_000;

/** A vault in this process. */
function makeVault(clock: FakeClock): TokenVault & { stored: ValidToken | undefined } {
  let claimedUntil = Number.NEGATIVE_INFINITY;
  const vault: TokenVault & { stored: ValidToken | undefined } = {
    stored: undefined,
    read: () => Promise.resolve(vault.stored),
    write(token) {
      vault.stored = token;
      return Promise.resolve();
    },
    claim() {
      if (clock.now() < claimedUntil) return Promise.resolve(false);
      claimedUntil = clock.now() + 30_000;
      return Promise.resolve(true);
    },
  };
  return vault;
}

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

interface Setup {
  readonly clock: FakeClock;
  readonly warnings: string[];
  /** The tokens that the API has issued. */
  readonly issued: string[];
  readonly obtain: (last?: string) => Promise<ObtainedToken>;
}

function setUp(vault: (clock: FakeClock) => TokenVault | undefined, validMs?: number): Setup {
  const clock = new FakeClock();
  const warnings: string[] = [];
  const issued: string[] = [];
  const replica = makeFleetToken({
    async fetch() {
      await turn();
      issued.push(`token-${issued.length + 1}`);
      return { token: issued.at(-1) ?? '', validMs };
    },
    vault: vault(clock),
    clock,
    log: { warn: (_fields: object, msg?: string) => void warnings.push(msg ?? '') },
  });
  const { signal } = new AbortController();
  return { clock, warnings, issued, obtain: (last) => replica(last, signal) };
}

/** Waits for a promise while the clock goes on. */
async function during<T>(clock: FakeClock, promise: Promise<T>): Promise<T> {
  const done = promise.then(() => 'done' as const);
  while ((await Promise.race([done, turn()])) !== 'done') clock.advance(50);
  return promise;
}

describe('the token of a fleet', () => {
  test('is fetched by one replica, and renewed after 80 % of its validity', async () => {
    const { clock, issued, obtain } = setUp(makeVault, DAY);
    const all = await during(clock, Promise.all([obtain(), obtain(), obtain()]));
    expect(issued).toEqual(['token-1']);
    for (const one of all) expect(one).toEqual({ token: 'token-1', renewAfterMs: 0.8 * DAY });
    clock.advance(0.8 * DAY);
    const next = await during(clock, Promise.all([obtain('token-1'), obtain('token-1')]));
    expect(issued).toEqual(['token-1', 'token-2']);
    expect(next.map(({ token }) => token)).toEqual(['token-2', 'token-2']);
  });

  test('is fetched again when the one that is shared was refused', async () => {
    const { clock, issued, obtain } = setUp(makeVault, DAY);
    await during(clock, obtain());
    clock.advance(60_000);
    expect(await during(clock, obtain('token-1'))).toMatchObject({ token: 'token-2' });
    // The others then find the new one.
    expect(await during(clock, obtain('token-1'))).toMatchObject({ token: 'token-2' });
    expect(issued).toHaveLength(2);
  });

  test('is fetched by another replica if the one with the right does not fetch it', async () => {
    const { clock, issued, obtain } = setUp((own) => {
      const vault = makeVault(own);
      void vault.claim();
      return vault;
    });
    await during(clock, obtain());
    expect(issued).toEqual(['token-1']);
  });

  test('is each replica’s own while the vault cannot be reached', async () => {
    const broken = (): Promise<never> => Promise.reject(new Error('no Redis'));
    const { clock, warnings, issued, obtain } = setUp(() => ({
      read: broken,
      write: broken,
      claim: broken,
    }));
    await during(clock, obtain());
    expect(issued).toEqual(['token-1']);
    expect(warnings).toEqual(['token not shared']);
  });

  test('without a vault is fetched each time, and renewed only if its validity is known', async () => {
    const { issued, obtain } = setUp(() => undefined);
    expect(await obtain()).toEqual({ token: 'token-1', renewAfterMs: undefined });
    expect(await obtain('token-1')).toEqual({ token: 'token-2', renewAfterMs: undefined });
    expect(issued).toHaveLength(2);
  });
});
