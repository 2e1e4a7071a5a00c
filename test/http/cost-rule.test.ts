import { describe, expect, test } from 'vitest';
import { costIn } from '../../src/http/cost-rule.ts';

describe('the cost that a body states', () => {
  test.each([
    ['{"urls":["a","b","c"]}', 3, 3],
    ['{"urls":[]}', 1, 1],
    ['{"urls":7}', 7, 50],
    ['{"urls":2.5}', 3, 50],
    ['{"urls":-1}', 50, 50],
    ['{"urls":"abc"}', 50, 50],
    ['{"urls":{"a":1}}', 50, 50],
    ['{"items":["a"]}', 50, 50],
    ['not JSON', 50, 50],
    ['', 50, 50],
  ])('%s costs %d, and %d where only a list counts', (text, cost, counted) => {
    expect(costIn(text, { body: '/urls', else: 50 })).toBe(cost);
    expect(costIn(text, { body: '/urls', count: true, else: 50 })).toBe(counted);
  });
});
