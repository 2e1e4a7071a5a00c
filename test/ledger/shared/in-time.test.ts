// @module-tag needs-redis-server
import { describe, expect, test } from 'vitest';
import { inTime } from '../../../src/ledger/shared/in-time.ts';
import { systemClock } from '../../../src/util/system-clock.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { startRedis } from '../../support/redis-server.ts';

describe('the time limit of a reply', () => {
  test('ends one turn later, so that a blocked process is no outage', async () => {
    const server = await startRedis();
    try {
      const reply = inTime(server.client.ping(), 100, systemClock);
      // The server replies meanwhile; the timer is due before the reply is read.
      const until = performance.now() + 300;
      while (performance.now() < until);
      await expect(reply).resolves.toBe('PONG');
    } finally {
      await server.stop();
    }
  });

  test('ends the wait when no reply arrived', async () => {
    const clock = new FakeClock();
    const judged = inTime(new Promise<never>(() => undefined), 100, clock);
    clock.advance(100);
    clock.advance(1);
    await expect(judged).rejects.toThrow('no answer within 100 ms');
  });
});
