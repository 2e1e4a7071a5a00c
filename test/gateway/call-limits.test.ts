import type { ServerResponse } from 'node:http';
import { expect, test } from 'vitest';
import { ask } from '../support/ask.ts';
import { until } from '../support/setup.ts';
import { ok, setUpApi, untilWaiting } from '../http/setup.ts';

const KEYS = 'a=a-key-0123456789012,b=b-key-0123456789012,c=c-key-0123456789012';

test('one caller has at most half of all calls, and all together have no more than all', async () => {
  const held: ServerResponse[] = [];
  let isReleased = false;
  const { gateway } = await setUpApi(
    (_incoming, outgoing) => {
      if (isReleased) outgoing.end('ok');
      else held.push(outgoing);
    },
    {
      HEADGATE_UPSTREAM_CONNECTIONS: '1',
      HEADGATE_MAX_CALLS: '4',
      HEADGATE_CALLER_KEYS: KEYS,
    },
  );
  const send = (caller: string): ReturnType<typeof ask> =>
    ask(`${gateway.url}/${caller}`, { headers: { 'headgate-key': `${caller}-key-0123456789012` } });
  const calls = [send('a')];
  await until('the API has the first', () => held.length === 1);
  calls.push(send('a'));
  await untilWaiting(gateway, 1);
  const third = await send('a');
  expect(third.status).toBe(503);
  expect(third.headers['headgate-error']).toBe('too-many-calls');
  expect(third.headers['retry-after']).toBe('1');
  expect(third.text).toContain('2 calls of this caller are under way');
  calls.push(send('b'), send('b'));
  await untilWaiting(gateway, 3);
  const fifth = await send('c');
  expect(fifth.headers['headgate-error']).toBe('too-many-calls');
  expect(fifth.text).toContain('HEADGATE_MAX_CALLS');
  isReleased = true;
  held[0]?.end('ok');
  for (const answer of await Promise.all(calls)) expect(answer.status).toBe(200);
  expect(await send('a')).toMatchObject({ status: 200 });
  const shed = (await gateway.log.wait('call', 7)).filter(({ outcome }) => outcome === 'shed');
  expect(shed).toMatchObject([
    { code: 'too-many-calls', path: '/a', caller: 'a' },
    { code: 'too-many-calls', path: '/c', caller: 'c' },
  ]);
  const { text: metrics } = await ask(`${gateway.adminUrl}/metrics`);
  expect(metrics).toContain('headgate_sheds_total{code="too-many-calls"} 2');
});

test('calls that end in any way are counted no more', async () => {
  const { gateway } = await setUpApi(ok, { HEADGATE_MAX_CALLS: '1' });
  for (let i = 0; i < 3; i++) {
    expect(await ask(`${gateway.url}/a`)).toMatchObject({ status: 200 });
    expect(await ask(`${gateway.url}/a`, { headers: { 'headgate-priority': 'x' } })).toMatchObject({
      status: 400,
    });
    expect(await ask(`${gateway.url}/a`, { method: 'POST', body: 'hi' })).toMatchObject({
      status: 200,
    });
  }
});
