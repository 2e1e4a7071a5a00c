import { expect, test } from 'vitest';
import { ask } from '../support/ask.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { setUp, until } from '../support/setup.ts';

const ADMIN_TOKEN = 'an-operator-s-token';

test.each([
  { maxWait: '60s', retryAfter: 30 },
  { maxWait: '2s', retryAfter: 5 },
])(
  'a call that waited $maxWait for a paused bucket learns of the pause, and to return in $retryAfter s',
  async ({ maxWait, retryAfter }) => {
    const clock = new FakeClock();
    const { gateway } = await setUp(
      {},
      { clock, settings: { HEADGATE_ADMIN_TOKEN: ADMIN_TOKEN, HEADGATE_MAX_WAIT: maxWait } },
    );
    const operator = { Authorization: `Bearer ${ADMIN_TOKEN}` };
    const admin = (path: string, method = 'GET') =>
      ask(gateway.adminUrl + path, { method, headers: operator });
    const headers = { Authorization: 'token abc' };
    expect((await ask(`${gateway.url}/domains`, { headers })).status).toBe(200);
    const { buckets }: { buckets: { id: string }[] } = JSON.parse((await admin('/buckets')).text);
    const id = encodeURIComponent(buckets[0]?.id ?? '');
    await admin(`/buckets/${id}/pause`, 'POST');
    const held = ask(`${gateway.url}/domains`, { headers });
    await until('it waits', async () => (await admin('/buckets')).text.includes('"waiting":1'));
    clock.advance(60_000);
    const refused = await held;
    expect(refused.headers['retry-after']).toBe(String(retryAfter));
    expect(JSON.parse(refused.text)).toMatchObject({
      code: 'wait-too-long',
      detail: `an operator paused this budget at this replica; try again in ${retryAfter} s`,
    });
  },
);
