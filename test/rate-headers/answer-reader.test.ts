import { expect, test } from 'vitest';
import { makeAnswerReader } from '../../src/rate-headers/answer-reader.ts';
import { ResetUnit } from '../../src/rate-headers/reset-unit.ts';

test('the countdowns of two budgets in one bucket are not compared with each other', () => {
  const read = makeAnswerReader({ rateHeaders: [], unit: new ResetUnit() });
  const answer = (name: string, reset: number): Record<string, string> => ({
    'x-ratelimit-bucket': name,
    'x-ratelimit-remaining': '5',
    'x-ratelimit-reset': String(reset),
  });
  // Both are seconds. From one answer to the next the number falls by a thousand in a second.
  for (let at = 0; at < 6000; at += 2000) {
    read(answer('hour', 3600 - at / 1000), 'bucket', at);
    read(answer('half', 2600 - at / 1000), 'bucket', at + 1000);
  }
  expect(read(answer('hour', 3590), 'bucket', 10_000).budgets[0]?.reset).toMatchObject({
    afterMs: 3_590_000,
  });
});
