import { describe, expect, test } from 'vitest';
import { read } from './markdown.ts';

const README = read('README.md');

describe('the README', () => {
  test('can be read in five minutes: it has fewer than 200 lines', () => {
    expect(README.split('\n').length).toBeLessThan(200);
  });

  test('explains the start, the first call, the clients and the output, in this order', () => {
    const headings = [...README.matchAll(/^## (.+)$/gm)].map(([, heading]) => heading);
    expect(headings.slice(0, 4)).toEqual([
      'Start',
      'A first call',
      'Point your clients here',
      'What you see',
    ]);
  });
});
