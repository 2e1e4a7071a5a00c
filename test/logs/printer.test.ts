import { expect, test } from 'vitest';
import { makePrinter } from '../../src/logs/printer.ts';
import { plain } from '../../src/logs/terminal-text.ts';
import { loggedCall } from '../support/log-fixtures.ts';

test('the view has a heading, and a further one when the first line names an API', () => {
  const printer = makePrinter({ mode: 'view', top: 10, paint: plain, toTerminal: false });
  const printed = ['', '', 'github', ''].map((api) => printer.format(loggedCall({ api }), ''));
  const headings = printed.map((text) => /^time .*$/m.exec(text)?.[0]);
  expect(headings.map((heading) => heading?.includes('API'))).toEqual([
    false,
    undefined,
    true,
    undefined,
  ]);
});
