import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { valueAt } from '../../src/http/cost-rule.ts';
import { JsonScalarScanner } from '../../src/http/json-scalars.ts';

const POINTERS = [
  '/links/previous',
  '/links/next',
  '/self',
  '/items/0',
  '/items/1/cost',
  '/a~1b~0',
];

/** The scalars at the pointers, as a parser finds them. */
function byParser(root: unknown, pointers: readonly string[] = POINTERS): unknown[] {
  const values = pointers.map((pointer) => valueAt(root, pointer));
  return values.filter(
    (value) => value !== undefined && (typeof value !== 'object' || value === null),
  );
}

function find(text: string, pointers: readonly string[] = POINTERS): string[] {
  const found = new JsonScalarScanner(pointers).push(text);
  return found.map(({ start, end }) => text.slice(start, end));
}

const leaf = fc.oneof(fc.string(), fc.double(), fc.boolean(), fc.constant(null));
const json = fc.oneof(
  fc.jsonValue(),
  fc.record(
    {
      links: fc.oneof(leaf, fc.record({ next: leaf, previous: leaf, other: fc.jsonValue() })),
      self: fc.jsonValue(),
      'a"b\\': fc.jsonValue(),
      'a/b~': fc.jsonValue(),
      'links/next': leaf,
      items: fc.array(fc.oneof(fc.jsonValue(), fc.record({ cost: fc.jsonValue() }))),
    },
    { requiredKeys: [] },
  ),
);

test('the scanner finds the scalars that a parser finds, in any JSON with any whitespace', () => {
  fc.assert(
    fc.property(json, fc.constantFrom(undefined, 1, '\t'), (value, space) => {
      const text = JSON.stringify(value, undefined, space);
      const found = find(text).map((scalar): unknown => JSON.parse(scalar));
      // The scanner returns them in the order of the text, the parser in that of the pointers.
      const expected = byParser(JSON.parse(text));
      expect(new Set(found)).toEqual(new Set(expected));
      expect(found).toHaveLength(expected.length);
    }),
  );
});

test.each([
  ['[{"cost":1},{"cost":2}]', '/1/cost', ['2']],
  ['[[],[3]]', '/1/0', ['3']],
  ['\ufeff {"a" : 12 }', '/a', ['12 ']],
  ['{"a":{"b":1},"b":"}"}', '/b', ['"}"']],
  ['{"a":{"b":[1]}}', '/a/b', []],
  ['{"a":12', '/a', []],
  ['{"a":}', '/a', []],
  ['12', '', []],
])('in %s, %j is %j', (text, pointer, expected) => {
  expect(find(text, [pointer])).toEqual(expected);
});

test('the scanner never throws or returns a position outside the text, whatever the text is', () => {
  const broken = fc
    .tuple(fc.constant('{"links":{"next":"a\\"b","previous":null},"items":[1,{}]}'), fc.nat(60))
    .map(([text, cut]) => text.slice(0, cut) + text.slice(cut + 1));
  fc.assert(
    fc.property(fc.oneof(fc.string(), broken), (text) => {
      for (const { start, end } of new JsonScalarScanner(POINTERS).push(text)) {
        expect(start).toBeLessThan(end);
        expect(end).toBeLessThanOrEqual(text.length);
      }
    }),
  );
});

test('the scanner finds the same scalars in a text that arrives in any parts', () => {
  const text = fc.oneof(
    json.map((value) => JSON.stringify(value)),
    fc.string(),
  );
  const sizes = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1 });
  fc.assert(
    fc.property(text, sizes, (whole, cuts) => {
      const scanner = new JsonScalarScanner(POINTERS);
      const found = [];
      for (let from = 0, n = 0; from < whole.length; n++) {
        const part = whole.slice(from, from + (cuts[n % cuts.length] ?? 1));
        from += part.length;
        found.push(...scanner.push(part));
        const { openScalar = 0 } = scanner;
        expect(openScalar).toBeLessThan(Math.max(1, from));
      }
      expect(found).toEqual(new JsonScalarScanner(POINTERS).push(whole));
    }),
  );
});
