import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { findStrings, JsonStringScanner } from '../../src/http/json-strings.ts';

const POINTERS = ['/links/previous', '/links/next', '/self'];

/** The strings at the pointers, as a parser finds them. */
function byParser(value: unknown): string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [];
  const members = new Map(Object.entries(value));
  const links: unknown = members.get('links');
  const inner =
    typeof links === 'object' && links !== null && !Array.isArray(links)
      ? new Map<string, unknown>(Object.entries(links))
      : new Map<string, unknown>();
  return [inner.get('previous'), inner.get('next'), members.get('self')].filter(
    (found) => typeof found === 'string',
  );
}

test('the scanner finds the strings that a parser finds, in any JSON with any whitespace', () => {
  const leaf = fc.oneof(fc.string(), fc.double(), fc.boolean(), fc.constant(null));
  const json = fc.oneof(
    fc.jsonValue(),
    fc.record(
      {
        links: fc.oneof(leaf, fc.record({ next: leaf, previous: leaf, other: fc.jsonValue() })),
        self: fc.jsonValue(),
        'a"b\\': fc.jsonValue(),
        results: fc.array(fc.jsonValue()),
      },
      { requiredKeys: [] },
    ),
  );
  fc.assert(
    fc.property(json, fc.constantFrom(undefined, 1, '\t'), (value, space) => {
      const text = JSON.stringify(value, undefined, space);
      const found = findStrings(text, POINTERS).map(({ start, end }): unknown =>
        JSON.parse(text.slice(start, end)),
      );
      // The scanner returns them in the order of the text, the parser in that of the pointers.
      expect(new Set(found)).toEqual(new Set(byParser(JSON.parse(text))));
      expect(found).toHaveLength(byParser(JSON.parse(text)).length);
    }),
  );
});

test('the scanner never throws or returns a position outside the text, whatever the text is', () => {
  const broken = fc
    .tuple(fc.constant('{"links":{"next":"a\\"b","previous":null},"self":"c"}'), fc.nat(60))
    .map(([text, at]) => text.slice(0, at) + text.slice(at + 1));
  fc.assert(
    fc.property(fc.oneof(fc.string(), broken), (text) => {
      for (const { start, end } of findStrings(text, POINTERS)) {
        expect(start).toBeLessThan(end);
        expect(end).toBeLessThanOrEqual(text.length);
      }
    }),
  );
});

test('the scanner finds the same strings in a text that arrives in any parts', () => {
  const text = fc.oneof(
    fc.jsonValue().map((value) => JSON.stringify(value)),
    fc.string(),
    fc
      .record({ links: fc.record({ next: fc.string(), previous: fc.string() }), self: fc.string() })
      .map((value) => JSON.stringify(value)),
  );
  const sizes = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1 });
  fc.assert(
    fc.property(text, sizes, (whole, cuts) => {
      const scanner = new JsonStringScanner(POINTERS);
      const found = [];
      for (let at = 0, n = 0; at < whole.length; n++) {
        const part = whole.slice(at, at + (cuts[n % cuts.length] ?? 1));
        at += part.length;
        found.push(...scanner.push(part));
        const { openString } = scanner;
        expect(['"', undefined]).toContain(
          openString === undefined ? undefined : whole.charAt(openString),
        );
      }
      expect(found).toEqual(findStrings(whole, POINTERS));
    }),
  );
});
