import { describe, expect, test } from 'vitest';
import { ClientPatience } from '../../src/gateway/identify/client-patience.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { ask } from '../support/ask.ts';
import { giveUp, type Abandoned } from '../support/give-up.ts';
import { setUpHeldApi, untilWaiting, type HeldApi } from '../http/setup.ts';

const SETTINGS = { HEADGATE_BUDGET_PER: 'upstream' };

const SAME = [5000, 5000, 5000, 5000, 5000];

async function setUpClock(settings = {}): Promise<HeldApi & { readonly clock: FakeClock }> {
  const clock = new FakeClock();
  const held = await setUpHeldApi({ ...SETTINGS, ...settings }, { clock });
  return { ...held, clock };
}

describe('what a client teaches', () => {
  test('is learned once for its caller and the product of its User-Agent', async () => {
    const { clock, ...held } = await setUpClock();
    await giveUp(held.gateway, clock, SAME);
    expect(held.gateway.log.named('patience learned')).toMatchObject([
      { caller: 'tool', userAgent: 'tool', patienceMs: 5000, maxWaitMs: 4000 },
    ]);
    const waiting = ask(`${held.gateway.url}/a`, { headers: { 'user-agent': 'tool/2' } });
    await untilWaiting(held.gateway, 1);
    clock.advance(4000);
    const { status, headers } = await waiting;
    expect([status, headers['headgate-error']]).toEqual([503, 'wait-too-long']);
    expect(headers['retry-after']).toMatch(/^[1-9]\d*$/);
  });

  test.each<[string, Abandoned, Abandoned]>([
    ['another product', {}, { userAgent: 'other/1', headers: { 'headgate-caller': 'tool' } }],
    ['another caller', {}, { headers: { 'headgate-caller': 'other' } }],
    ['another address that states the same names', { from: '127.0.0.2' }, {}],
    ['a call that states its own wait', {}, { headers: { 'headgate-max-wait': '50' } }],
  ])('does not limit %s', async (_name, teacher, other) => {
    const { clock, release, ...held } = await setUpClock();
    await giveUp(held.gateway, clock, SAME, teacher);
    const waiting = ask(`${held.gateway.url}/a`, {
      headers: { 'user-agent': other.userAgent ?? 'tool/1', ...other.headers },
    });
    await untilWaiting(held.gateway, 1);
    clock.advance(20_000);
    release();
    expect((await waiting).status).toBe(200);
  });

  test.each<[string, Record<string, string>, Abandoned]>([
    ['a call that states its own wait', {}, { headers: { 'headgate-max-wait': '50' } }],
    ['the setting is off', { HEADGATE_PATIENCE: 'off' }, {}],
  ])('is nothing if %s', async (_name, settings, asked) => {
    const { clock, ...held } = await setUpClock(settings);
    await giveUp(held.gateway, clock, SAME, asked);
    expect(held.gateway.log.count('patience learned')).toBe(0);
  });

  test('is nothing if calls of different ages are given up', async () => {
    const { clock, ...held } = await setUpClock();
    await giveUp(held.gateway, clock, [2000, 9000, 4000, 15_000, 6000, 3000, 30_000]);
    expect(held.gateway.log.count('patience learned')).toBe(0);
  });

  test('is forgotten when a call that waited longer receives its answer', async () => {
    const { clock, release, ...held } = await setUpClock();
    await giveUp(held.gateway, clock, SAME);
    clock.advance(3_600_000);
    // The call that tests what was learned an hour ago.
    const waiting = ask(`${held.gateway.url}/a`, { headers: { 'user-agent': 'tool/1' } });
    await untilWaiting(held.gateway, 1);
    clock.advance(6000);
    release();
    expect((await waiting).status).toBe(200);
    expect(await held.gateway.log.first('patience forgotten')).toMatchObject({
      caller: 'tool',
      userAgent: 'tool',
    });
  });
});

test('the remembered clients are bounded, whatever names callers state', () => {
  const patience = new ClientPatience({ info: () => undefined });
  const teach = (owner: string, caller: string, product: string): void => {
    for (let at = 0; at < 5; at++) {
      const incoming = { headers: { 'user-agent': `${product}/1` } };
      patience.gaveUp({ owner, caller, arrivedAt: at * 10_000 }, incoming, at * 10_000 + 5000);
    }
  };
  for (let owner = 0; owner < 1100; owner++) teach(`10.0.0.${owner}`, 'a', 'tool');
  for (let name = 0; name < 20; name++) teach('10.0.0.1099', `caller-${name}`, 'tool');
  teach('10.0.0.1099', 'long', 'x'.repeat(65));
  const known = (owner: string, caller: string, product = 'tool'): number | undefined =>
    patience.at(100_000, owner, caller, `${product}/1`);
  expect(known('10.0.0.99', 'a')).toBeUndefined();
  expect(known('10.0.0.1098', 'a')).toBe(5000);
  expect(known('10.0.0.1099', 'caller-3')).toBeUndefined();
  expect(known('10.0.0.1099', 'caller-4')).toBe(5000);
  expect(known('10.0.0.1099', 'long', 'x'.repeat(65))).toBeUndefined();
});
