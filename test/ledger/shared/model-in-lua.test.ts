import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { withInlined } from '../../../scripts/lua/inline.ts';
import { brokenRules } from '../../../scripts/lua/model-rules.ts';
import {
  LUA_MODULES,
  moduleInLua,
  packedFields,
  sourcesOf,
} from '../../../scripts/lua/model-to-lua.ts';
import { ROOT } from '../../support/spawned.ts';

const SCRIPT = join(ROOT, 'src/ledger/shared/script');

describe.each(LUA_MODULES)('the generated $output', (module) => {
  const generated = moduleInLua(module);

  test('is that of the source; `npm run lua` writes it', () => {
    expect(readFileSync(join(ROOT, module.output), 'utf8')).toBe(generated);
  });

  test('needs no library of the generator', () => {
    expect(generated).not.toMatch(/__TS__|require/);
  });
});

describe('the stored bucket', () => {
  test('has a layout of its own for its fields, whose order is stored', () => {
    // Where the fields change, LAYOUT must grow by one: replicas of two versions may run side by side.
    const layout = /^local LAYOUT = (\d+)$/m.exec(readFileSync(join(SCRIPT, 'begin.lua'), 'utf8'));
    expect(layout?.[1]).toBe('8');
    expect(packedFields().join(' ')).toBe(
      [
        'phase hasReportedLimit limit isLimitStated isOwnLimit remaining share spread inFlight',
        'extraInFlight',
        'losses returns observations observedAt reportedRemaining reportedResetAt stamp',
        'sameWithinMs uncertaintyMs countsBefore basis offsetMs resetAt observedPeriodMs.previous',
        'observedPeriodMs.current observedPeriodMs.count configuredPeriodMs countedUntil',
        'lastReturnAt marginMs noiseMs.previous noiseMs.current noiseMs.count last.resetAt',
        'last.left last.returns rounded.testAt rounded.openedAt rounded.closedMs rounded.openMs',
        'rounded.isUneven rounded.failures doubtful doubtFrom doubtUntil unmatched',
        'othersSpent.previous othersSpent.current othersSpent.count callCost costFrom costReturns costLosses costCalls lastFall',
        'blockedUntil isRetryAfter blockedAt blockedObservation guesses lastGrantAt canaryAt',
        'heldUntil isCanaryDue canaryDueAt canaryWaitMs forcedAfterMs nextFirstAt firstWaitMs',
        'taken expected window ceiling',
      ].join(' '),
    );
  });
});

describe('short functions', () => {
  const inlined = (...texts: string[]): string[] =>
    withInlined(texts).map((each) => each.getText());
  const LEFT = 'function left({ limit, spent }: B): number { return limit - spent; }';

  test('are written where they are called, with the fields of their arguments', () => {
    const caller = 'function f(bucket: B): number { return 2 * left(bucket); }';
    const calling =
      'function g(bucket: B): number { const { spent } = bucket; return left(bucket) + spent; }';
    const last = 'function h(own: B, n: number): number { if (n > 0) return g(own); return n; }';
    expect(inlined(LEFT, caller, calling, last)).toEqual([
      LEFT,
      'function f(bucket: B): number { return 2 * (bucket.limit - bucket.spent); }',
      'function g(bucket: B): number { const { spent } = bucket; return (bucket.limit - bucket.spent) + spent; }',
      'function h(own: B, n: number): number { if (n > 0) return ((own.limit - own.spent) + own.spent); return n; }',
    ]);
  });

  test('are called where an argument is more than a name', () => {
    const caller = 'function f(n: number): number { return left(make(n)); }';
    expect(inlined(LEFT, caller)[1]).toBe(caller);
  });

  test('include Math.max and Math.min of two terms that call nothing', () => {
    const more = 'function more(b: B, n: number): number { return Math.max(0, b.limit - n); }';
    const less = 'function less(n: number): number { return Math.min(n, 9); }';
    const other =
      'function other(n: number): number { return Math.max(f(n), 0) + Math.max(1, n, 2); }';
    expect(inlined(more, less, other)).toEqual([
      'function more(b: B, n: number): number { return ((b.limit - n) < (0) ? (0) : (b.limit - n)); }',
      'function less(n: number): number { return ((n) < (9) ? (n) : (9)); }',
      other,
    ]);
  });

  test('have nothing for a share, which no bucket in Redis has', () => {
    const all =
      'function all({ limit, share }: B): number { return share === undefined ? limit : limit * share.n; }';
    const extra =
      'function extra({ share }: B): number { if (share === undefined) return Infinity; return share.n; }';
    const caller = 'function f(bucket: B): number { return all(bucket) + extra(bucket); }';
    expect(inlined(all, extra, caller)[2]).toBe(
      'function f(bucket: B): number { return (bucket.limit) + (Infinity); }',
    );
  });
});

describe('the source of the model', () => {
  test('has nothing that Lua does in another way', () => {
    const files = LUA_MODULES.flatMap(sourcesOf);
    expect(files.length).toBeGreaterThan(8);
    expect(brokenRules(files.map((file) => join(ROOT, file)))).toEqual([]);
  });

  const BROKEN: readonly [what: string, body: string][] = [
    ['a number as a condition', 'if (n) return 1; return 2;'],
    ['a number that is 0 as missing', 'return n || 1;'],
    ['a text as a condition', "return '' ? 1 : 2;"],
    ['a negated number', 'return !n ? 1 : 2;'],
    ['a remainder', 'return n % 3;'],
    ['a template', 'return `${n}`.length;'],
    ['a closure', 'const f = () => n; return f();'],
    ['a class', 'class A {} return new A() === undefined ? 1 : n;'],
    ['a spread', 'return [...[n]].length;'],
    ['a method of a library', 'return [n].splice(0, 1).length;'],
    ['a map', 'return new Map([[n, n]]).size;'],
    ['an exception', "throw new Error('no');"],
    ['null', 'return n === null ? 1 : 2;'],
    ['a length that is set', 'const list = [n]; list.length = 0; return 1;'],
    ['a function of Math that Lua lacks', 'return Math.trunc(n);'],
  ];

  test('must not have what Lua does in another way', () => {
    const folder = mkdtempSync(join(tmpdir(), 'headgate-model-'));
    const paths = BROKEN.map((_case, i) => join(folder, `case-${i}.ts`));
    const lawful = join(folder, 'lawful.ts');
    const importing = join(folder, 'importing.ts');
    for (const [i, [, body]] of BROKEN.entries()) {
      writeFileSync(paths[i] ?? '', `export function f(n: number): number { ${body} }\n`);
    }
    writeFileSync(lawful, 'export function f(n: number): number { return n > 0 ? n : 0; }\n');
    writeFileSync(importing, "import { f } from '../util/heap.ts';\nexport const A = f;\n");
    const broken = brokenRules([...paths, lawful, importing]);
    rmSync(folder, { recursive: true });
    const unnoticed = BROKEN.filter(
      (_case, i) => !broken.some((line) => line.startsWith(`${paths[i]}:`)),
    );
    expect(unnoticed).toEqual([]);
    expect(broken.filter((line) => line.startsWith(lawful))).toEqual([]);
    expect(broken.filter((line) => line.startsWith(importing))).not.toEqual([]);
  });
});
