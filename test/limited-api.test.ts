import { expect, test } from 'vitest';
import { azionWorld } from './support/limit-worlds.ts';
import { startLimitedApi } from './support/limited-api.ts';
import { FakeClock } from './support/fake-clock.ts';

test('an API with several limits answers over HTTP, by its own clock', async () => {
  const clock = new FakeClock({ epochMs: Date.UTC(2026, 10, 28, 10) });
  const api = await startLimitedApi(azionWorld({ objects: { limit: 3, periodMs: 60_000 } }), {
    clock,
    skewMs: 2000,
  });
  const purge = (): Promise<Response> =>
    fetch(`${api.url}/purge/url?x=1`, {
      method: 'POST',
      headers: { authorization: 'Token a' },
      body: JSON.stringify({ urls: ['a', 'b'] }),
    });
  const [first, second] = [await purge(), await purge()];
  await api.close();
  expect([first.status, second.status]).toEqual([200, 429]);
  expect(first.headers.get('date')).toBe('Sat, 28 Nov 2026 10:00:02 GMT');
  expect(first.headers.get('x-ratelimit-remaining')).toBe('199');
  expect(api.calls.map(({ path, credential, refusedBy }) => [path, credential, refusedBy])).toEqual(
    [
      ['/purge/url', 'Token a', undefined],
      ['/purge/url', 'Token a', 'objects'],
    ],
  );
  expect(api.meter.counters.get('objects|Token a|')).toMatchObject({ spent: 2, refused: 1 });
});
