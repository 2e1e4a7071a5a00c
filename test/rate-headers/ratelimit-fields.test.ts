import { describe, expect, test } from 'vitest';
import { readQuotaPolicies, readServiceLimits } from '../../src/rate-headers/ratelimit-fields.ts';

describe('the RateLimit fields', () => {
  test.each([
    '',
    '"a"',
    '"a";r=-1',
    '"a";r=1.5',
    '"a";r="1"',
    '"a";r=1;t=-1',
    '("a" "b");r=1',
    '"a";r=1,',
    'limit=1, remaining=2',
    'limit=1, limit=2, remaining=2, reset=3',
    'limit=1, remaining=-0.5, reset=3',
  ])('RateLimit rejects %j', (text) => {
    expect(readServiceLimits(text)).toBeUndefined();
  });

  test.each(['', '"a"', '"a";q=-1', 'q=1', '("a");q=1', '"a";q=1,'])(
    'RateLimit-Policy rejects %j',
    (text) => {
      expect(readQuotaPolicies(text)).toBeUndefined();
    },
  );
});

test('a long name of a policy is cut to 64 characters', () => {
  const [limit] = readServiceLimits(`"${'n'.repeat(65)}";r=1;t=2`) ?? [];
  expect(limit?.policy).toBe('n'.repeat(64));
});
