import { expect, test } from 'vitest';
import { composeLedger } from '../src/compose-ledger.ts';
import { ClockOffset } from '../src/core/clock-offset.ts';
import type { Clock } from '../src/core/clock.ts';
import { systemClock } from '../src/system-clock.ts';
import { makeLog } from '../src/telemetry/log.ts';
import { FakePlaces } from './support/ledger-desk.ts';
import { startRedis } from './support/redis-server.ts';
import { seededChance } from './support/seeded-chance.ts';

const TIMEOUT_MS = 10_000;

/** The host's clock, whose timers are a hundred times as fast, and that knows which are set. */
function hastyClock(): { clock: Clock; delays: () => number[] } {
  const pending = new Map<symbol, number>();
  const clock: Clock = {
    ...systemClock,
    after(delayMs, run) {
      const mark = Symbol(delayMs);
      pending.set(mark, delayMs);
      const timer = systemClock.after(delayMs / 100, () => {
        pending.delete(mark);
        run();
      });
      return {
        cancel() {
          pending.delete(mark);
          timer.cancel();
        },
      };
    },
  };
  return { clock, delays: () => [...pending.values()] };
}

test('a ledger that is closed while Redis owes it an answer leaves nothing running', async ({
  onTestFinished,
}) => {
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  const { clock, delays } = hastyClock();
  const composed = await composeLedger({
    redis: {
      address: {
        topology: { kind: 'single', at: { host: '127.0.0.1', port: redis.port } },
        db: 0,
        tls: false,
        username: undefined,
        password: undefined,
      },
      prefix: 'h',
      timeoutMs: TIMEOUT_MS,
      ca: undefined,
      cert: undefined,
      key: undefined,
    },
    secret: undefined,
    live: () => ({ maxQueue: 10, limit: undefined }),
    clock,
    chance: seededChance(1),
    apiClock: new ClockOffset(),
    places: new FakePlaces(10),
    log: makeLog({ level: 'silent', replica: 'r', clock, destination: { write: () => undefined } }),
    observer: { step: () => undefined, mode: () => undefined },
  });
  redis.signal('SIGSTOP');
  await expect.poll(delays, { interval: 1 }).toEqual([TIMEOUT_MS]);
  await composed.close();
  await expect.poll(delays, { interval: 1 }).toEqual([]);
});
