import { expect, onTestFinished, test } from 'vitest';
import { startApi } from '../support/api.ts';
import { ask } from '../support/ask.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { startGateway } from '../support/gateway.ts';
import { bucketsOf, until } from '../support/setup.ts';

const MINUTES = 5;

test('a budget that only declared headers report is counted, and waited for', async () => {
  let left = 2;
  const api = await startApi((_incoming, outgoing) => {
    outgoing.setHeader('X-Calls-Allowed', '2');
    outgoing.setHeader('X-Calls-Open', String(--left));
    outgoing.setHeader('X-Calls-Back', String(MINUTES));
    outgoing.end('{}');
  });
  onTestFinished(() => api.close());
  const clock = new FakeClock();
  const gateway = await startGateway({
    upstream: api.url,
    clock,
    settings: { HEADGATE_PRESET: 'none', HEADGATE_MAX_WAIT: '10m' },
    files: {
      'headgate.yaml': `rateHeaders:
  - { header: X-Calls-Allowed, role: limit }
  - { header: X-Calls-Open, role: remaining }
  - { header: X-Calls-Back, role: reset, unit: minutes }
`,
    },
  });
  onTestFinished(() => gateway.stop());

  for (let i = 0; i < 2; i++) expect((await ask(`${gateway.url}/a`)).status).toBe(200);
  const waiting = ask(`${gateway.url}/a`);
  await until('it waits', async () => (await bucketsOf(gateway))[0]?.waiting === 1);
  const [bucket] = await bucketsOf(gateway);
  expect(bucket).toMatchObject({ limit: 2, remaining: 0 });
  expect(bucket?.resetInMs).toBeGreaterThan(MINUTES * 60_000 - 1000);
  left = 2;
  // A reset in minutes may be rounded either way.
  clock.advance((MINUTES + 2) * 60_000);
  expect((await waiting).status).toBe(200);
  expect(api.seen).toHaveLength(3);
});
