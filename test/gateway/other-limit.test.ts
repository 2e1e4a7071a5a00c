import { expect, test } from 'vitest';
import { setUpApi, untilWaiting } from '../http/setup.ts';
import { ask } from '../support/ask.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { advanceUntil, untilStill } from '../support/setup.ts';

/** 42 of 60 remain, whatever the API refuses: another limit of it does. */
const REPORTED = {
  'X-RateLimit-Limit': '60',
  'X-RateLimit-Remaining': '42',
  'X-RateLimit-Reset': '1800',
};

test('two requests that an unreported limit refuses close the budget until the API says', async () => {
  const clock = new FakeClock();
  let refusesUntil = 0;
  const { api, gateway } = await setUpApi(
    (_incoming, outgoing) => {
      const isRefused = clock.now() < refusesUntil;
      outgoing.setHeaders(new Headers({ ...REPORTED, ...(isRefused && { 'Retry-After': '4' }) }));
      outgoing.statusCode = isRefused ? 429 : 200;
      outgoing.end('{}');
    },
    { HEADGATE_PRESET: 'none' },
    { clock },
  );
  await ask(`${gateway.url}/first`);
  refusesUntil = clock.now() + 4000;

  const alone = ask(`${gateway.url}/alone`);
  await gateway.log.wait('throttled', 1);
  // One refusal with something left concerns its request alone: another one is tried.
  const second = ask(`${gateway.url}/second`);
  await gateway.log.wait('throttled', 2);
  expect(api.seen.map(({ url }) => url)).toEqual(['/first', '/alone', '/second']);
  expect(gateway.log.named('throttled')).toMatchObject([{ scope: 'request' }, { scope: 'bucket' }]);
  // The second one shows that it concerns all.
  const others = [1, 2, 3].map((number) => ask(`${gateway.url}/other/${number}`));
  await untilWaiting(gateway, 5);
  clock.advance(3900);
  await untilStill(() => api.seen.length);
  expect(api.seen).toHaveLength(3);

  const answers = Promise.all([alone, second, ...others]);
  for (const answer of await advanceUntil({ clock, gateway }, answers)) {
    expect(answer).toMatchObject({ status: 200 });
  }
  expect(gateway.log.count('throttled')).toBe(2);
});
