import { expect, test } from 'vitest';
import { makeOncePerMinute } from '../../src/util/once-per-minute.ts';
import { FakeClock } from '../support/fake-clock.ts';

test('a line may be written at once, and then when a minute has passed since the last one', () => {
  const clock = new FakeClock();
  const mayWrite = makeOncePerMinute(clock);
  expect([mayWrite(), mayWrite()]).toEqual([true, false]);
  clock.advance(59_999);
  expect(mayWrite()).toBe(false);
  clock.advance(1);
  expect([mayWrite(), mayWrite()]).toEqual([true, false]);
});
