import { expect, test } from 'vitest';
import { AuthThrottle, type AuthFailureReport } from '../../src/http/auth-throttle.ts';
import { FakeClock } from '../support/fake-clock.ts';

const MINUTE = 60_000;

function setUp() {
  const clock = new FakeClock();
  const reports: AuthFailureReport[] = [];
  const throttle = new AuthThrottle({ clock, report: (report) => reports.push(report) });
  /** Clients that wait for a delayed answer, each by the function that disconnects it. */
  const waiting = new Set<() => void>();
  const onDisconnect = (listener: () => void): (() => void) => {
    waiting.add(listener);
    return () => waiting.delete(listener);
  };
  const fail = (address: string) => throttle.fail(address, onDisconnect);
  const kinds = (address: string, count: number): string[] =>
    Array.from({ length: count }, () => fail(address).kind);
  return { clock, throttle, reports, waiting, fail, kinds };
}

function repeated<T>(count: number, value: T): T[] {
  return Array.from({ length: count }, () => value);
}

test('ten failures a minute are answered at once, further ones a second later', async () => {
  const { clock, throttle, waiting, fail, kinds } = setUp();
  expect(kinds('10.0.0.1', 10)).toEqual(repeated(10, 'at-once'));
  const failure = fail('10.0.0.1');
  if (failure.kind !== 'delayed') throw new Error(failure.kind);
  let isOver = false;
  void failure.over.then(() => (isOver = true));
  clock.advance(999);
  await Promise.resolve();
  expect(isOver).toBe(false);
  clock.advance(1);
  await failure.over;
  expect([waiting.size, clock.pending]).toEqual([0, 0]);
  expect(throttle.total).toBe(11);
  clock.advance(MINUTE);
  expect(kinds('10.0.0.1', 11)).toEqual([...repeated(10, 'at-once'), 'delayed']);
});

test('failures of one network do not slow the failures of another', () => {
  const { kinds } = setUp();
  kinds('10.0.0.1', 11);
  expect(kinds('10.0.0.2', 1)).toEqual(['at-once']);
});

test.each([
  ['2001:db8:1:2::1', '2001:db8:1:2:aaaa:bbbb:cccc:dddd', true],
  ['2001:db8::1', '2001:db8:0:0:5::', true],
  ['::1', '::2', true],
  ['fe80::1%eth0', 'fe80::2%eth1', true],
  ['2001:db8:1:2::1', '2001:db8:1:3::1', false],
  ['::ffff:10.0.0.1', '10.0.0.1', true],
  ['::ffff:10.0.0.1', '::ffff:10.0.0.2', false],
])('%s and %s are of one network: %s', (one, other, same) => {
  const { kinds } = setUp();
  kinds(one, 10);
  expect(kinds(other, 1)).toEqual([same ? 'delayed' : 'at-once']);
});

test('delayed answers are bounded per network and in all; a further one is a 429 at once', () => {
  const { clock, fail, kinds } = setUp();
  kinds('10.0.0.1', 10);
  expect(kinds('10.0.0.1', 10)).toEqual(repeated(10, 'delayed'));
  clock.advance(500);
  expect(fail('10.0.0.1')).toEqual({ kind: 'too-many', retryAfterMs: MINUTE - 500 });
  for (let i = 2; i <= 10; i++) kinds(`10.0.0.${i}`, 20);
  expect(clock.pending).toBe(100);
  expect(kinds('10.0.0.11', 11)).toEqual([...repeated(10, 'at-once'), 'too-many']);
  clock.advance(1000);
  expect(clock.pending).toBe(0);
  expect(kinds('10.0.0.11', 1)).toEqual(['delayed']);
});

test('a client that disconnects ends its delay', async () => {
  const { clock, waiting, fail, kinds } = setUp();
  kinds('10.0.0.1', 10);
  const failure = fail('10.0.0.1');
  kinds('10.0.0.1', 9);
  expect(kinds('10.0.0.1', 1)).toEqual(['too-many']);
  const [disconnect] = waiting;
  disconnect?.();
  if (failure.kind === 'delayed') await failure.over;
  expect([failure.kind, waiting.size, clock.pending]).toEqual(['delayed', 9, 9]);
  expect(kinds('10.0.0.1', 1)).toEqual(['delayed']);
});

test('a network is reported once a minute, with the number of its failures since', () => {
  const { clock, reports, kinds } = setUp();
  kinds('10.0.0.1', 30);
  kinds('10.0.0.2', 1);
  clock.advance(MINUTE);
  kinds('10.0.0.1', 5);
  expect(reports).toEqual([
    { address: '10.0.0.1', failures: 1, total: 1 },
    { address: '10.0.0.2', failures: 1, total: 31 },
    { address: '10.0.0.1', failures: 30, total: 32 },
  ]);
});

test('at most 20 networks are reported in a minute, and 10000 are remembered', () => {
  const { clock, throttle, reports, kinds } = setUp();
  kinds('1.1.1.1', 10);
  for (let i = 0; i < 10_000; i++) kinds(`10.${i >> 8}.${i & 255}.1`, 1);
  expect(reports).toHaveLength(20);
  // The network that failed longest ago is forgotten.
  expect(kinds('1.1.1.1', 1)).toEqual(['at-once']);
  clock.advance(MINUTE);
  kinds('1.1.1.2', 1);
  expect(reports.at(-1)).toEqual({ address: '1.1.1.2', failures: 1, total: throttle.total });
});

test('a network that keeps failing is not forgotten for new ones', () => {
  const { kinds } = setUp();
  const failOthers = (from: number): void => {
    for (let i = 0; i < 7000; i++) kinds(`${from}.${i >> 8}.${i & 255}.1`, 1);
  };
  kinds('1.1.1.1', 10);
  failOthers(10);
  kinds('1.1.1.1', 1);
  failOthers(11);
  expect(kinds('1.1.1.1', 1)).toEqual(['delayed']);
});
