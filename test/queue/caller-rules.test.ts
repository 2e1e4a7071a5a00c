import { describe, expect, test } from 'vitest';
import { matchCallerRule, productOf } from '../../src/queue/caller-rules.ts';

describe('a caller rule', () => {
  const rules = [
    { name: 'sync', userAgent: 'curl', weight: 1 },
    { name: 'sync', weight: 2 },
    { userAgent: 'terraform', weight: 3 },
    { userAgent: 'cli/2.0', weight: 4 },
    { userAgent: 'cli', weight: 5 },
  ];

  test.each([
    ['sync', 'curl/8', 1],
    ['sync', 'wget/1', 2],
    ['sync', undefined, 2],
    ['other', 'terraform/1.9 terraform-provider-azion/2', 3],
    ['other', 'curl/8', undefined],
    ['Sync', undefined, undefined],
    ['other', 'terraforms/1', undefined],
    ['other', 'cli/2.0', 4],
    ['other', 'cli/2.0.7 (linux)', 4],
    ['other', 'cli/2.01', 5],
    ['other', 'cli/2', 5],
    ['other', 'cli', 5],
    ['other', 'cli.x/2', undefined],
  ])(
    'for the caller %s with the User-Agent %s is the first that matches entirely',
    (caller, userAgent, weight) => {
      expect(matchCallerRule(rules, caller, userAgent)?.weight).toBe(weight);
    },
  );

  test('without a condition matches no caller', () => {
    expect(matchCallerRule([{ weight: 9 }], 'x', 'y')).toBeUndefined();
  });

  test.each([
    ['Azion_CLI/1.2.3 (linux)', 'Azion_CLI'],
    ['node', 'node'],
    ['octodns/1 octodns-azion/0', 'octodns'],
    ['', undefined],
    ['(comment)', undefined],
    [undefined, undefined],
  ])('takes the product of %j to be %s', (userAgent, product) => {
    expect(productOf(userAgent)).toBe(product);
  });
});
