import { describe, expect, test } from 'vitest';
import { read } from './markdown.ts';

const README = read('README.md');

describe('the README', () => {
  test('is read in five minutes: it has less than 200 lines', () => {
    expect(README.split('\n').length).toBeLessThan(200);
  });

  test('says how to start, to call, to point clients at the gateway, and what one sees', () => {
    const headings = [...README.matchAll(/^## (.+)$/gm)].map(([, heading]) => heading);
    expect(headings.slice(0, 4)).toEqual([
      'Start',
      'A first call',
      'Point your clients here',
      'What you see',
    ]);
  });
});
