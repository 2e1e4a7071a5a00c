import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { LISTS } from '../../src/config/lists.ts';
import type { RateHeaderRule } from '../../src/rate-headers/declared-headers.ts';
import { makeRateHeaderReader } from '../../src/rate-headers/rate-headers.ts';
import { readingsInWords } from '../support/readings-in-words.ts';

const PAGE = readFileSync(new URL('../../docs/rate-headers.md', import.meta.url), 'utf8');

interface Dialect {
  readonly name: string;
  /** What the page declares of the headers. */
  readonly rules: readonly RateHeaderRule[];
  readonly headers: Readonly<Record<string, string | string[]>>;
  readonly readAs: string;
}

/** The dialects of docs/rate-headers.md. */
function dialects(): Dialect[] {
  const found: Dialect[] = [];
  for (const section of PAGE.split(/^### /m).slice(1)) {
    const [, block = ''] = /^```http\n([^]*?)\n```$/m.exec(section) ?? [];
    const [, readAs = ''] = /^Read as: (.*)\.$/m.exec(section) ?? [];
    const [, yaml = 'rateHeaders: []'] = /^```yaml\n([^]*?)\n```$/m.exec(section) ?? [];
    const rules = LISTS.rateHeaders.parse(Reflect.get(parse(yaml), 'rateHeaders'));
    const headers: Record<string, string> = {};
    for (const line of block.split('\n')) {
      const colon = line.indexOf(': ');
      headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 2);
    }
    found.push({ name: section.slice(0, section.indexOf('\n')), rules, headers, readAs });
  }
  return found;
}

describe('the rate headers of', () => {
  test.each(dialects().map((dialect) => [dialect.name, dialect] as const))(
    '%s are read as docs/rate-headers.md says',
    (_name, { rules, headers, readAs }) => {
      expect(readingsInWords(makeRateHeaderReader(rules)(headers))).toBe(readAs);
    },
  );

  test('all dialects are read the same by one reader, whatever came before', () => {
    const read = makeRateHeaderReader();
    const others = { date: 'Sat, 28 Nov 2026 10:00:00 GMT', 'content-type': 'application/json' };
    const undeclared = dialects().filter(({ rules }) => rules.length === 0);
    for (const { headers, readAs } of [...undeclared, ...undeclared.toReversed()]) {
      expect(readingsInWords(read(headers))).toBe(readAs);
      expect(readingsInWords(read({ ...others, ...headers }))).toBe(readAs);
      expect(readingsInWords(read(others))).toBe('nothing');
    }
  });
});
