import { describe, expect, test } from 'vitest';
import { readSource, sourceFiles, type SourceFile } from './support/source-files.ts';

const FILES = sourceFiles('src');

/** What the pure rooms may import, and every room may import from. */
const PURE = ['budget', 'queue', 'draws', 'rate-headers', 'http', 'util'];

/**
 * What each room may import from beside itself: main → cli → app → gateway → ledger, upstream,
 * telemetry → queue, budget, draws → rate-headers, http → util.
 */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  main: ['cli'],
  cli: ['app', 'certificates', 'config', 'diagnosis', 'presets', 'logs', 'telemetry', ...PURE],
  // The entry for applications of others, beside that of the program.
  hono: ['app', 'config', 'telemetry', ...PURE],
  app: [
    'admin',
    'diagnosis',
    'gateway',
    'ledger',
    'upstream',
    'telemetry',
    'config',
    'certificates',
    ...PURE,
  ],
  // Uses the same way to the API as the gateway.
  diagnosis: ['ledger', 'upstream', ...PURE],
  admin: ['ledger', 'telemetry', 'config', ...PURE],
  gateway: ['ledger', 'upstream', 'telemetry', ...PURE],
  // One layer: each may know the others' types, and no file of it may be in a cycle.
  ledger: ['upstream', 'telemetry', ...PURE],
  upstream: ['ledger', 'telemetry', ...PURE],
  telemetry: ['ledger', 'upstream', ...PURE],
  config: ['presets', ...PURE],
  certificates: PURE,
  presets: PURE,
  logs: PURE,
  draws: ['rate-headers', 'util'],
  'rate-headers': ['budget', 'util'],
  http: ['util'],
  queue: ['util'],
  budget: ['util'],
  util: [],
};

/** `budget` of src/budget/bucket.ts; `main` of src/main.ts. */
function roomOf(path: string): string {
  return path.split('/')[1]?.replace(/\.ts$/, '') ?? '';
}

function wrongWays(files: readonly SourceFile[]): string[] {
  return files.flatMap(({ path, imports }) => {
    const room = roomOf(path);
    const allowed = new Set([room, ...(MAY_IMPORT[room] ?? [])]);
    return imports
      .filter(({ isOurs, from }) => isOurs && from.startsWith('src/'))
      .filter(({ from }) => !allowed.has(roomOf(from)))
      .map(({ from }) => `${path} → ${from}`);
  });
}

function cycles(files: readonly SourceFile[]): string[] {
  const known = new Map(files.map((file) => [file.path, file]));
  const state = new Map<string, 'open' | 'done'>();
  const found: string[] = [];
  const visit = (path: string, way: readonly string[]): void => {
    if (state.get(path) === 'done') return;
    if (state.get(path) === 'open') {
      found.push([...way.slice(way.indexOf(path)), path].join(' → '));
      return;
    }
    state.set(path, 'open');
    for (const { from, isOurs } of known.get(path)?.imports ?? []) {
      if (isOurs && known.has(from)) visit(from, [...way, path]);
    }
    state.set(path, 'done');
  };
  for (const { path } of files) visit(path, []);
  return found;
}

const PURE_PACKAGES: ReadonlySet<string> = new Set(['structured-headers']);

/** Packages and parts of Node through which a pure room would reach the outside. */
function impure(files: readonly SourceFile[]): string[] {
  return files
    .filter(({ path }) => PURE.includes(roomOf(path)))
    .flatMap(({ path, imports }) =>
      imports
        .filter(({ isOurs, from }) => !isOurs && !PURE_PACKAGES.has(from))
        .map(({ from }) => `${path} → ${from}`),
    );
}

/** StepLoop and stores that make parts of another room, which only app does. */
function constructions(files: readonly SourceFile[]): string[] {
  const composing = new Set(['app', 'cli', 'main', 'hono']);
  const shared = new Set(PURE);
  return files
    .filter(({ path }) => !composing.has(roomOf(path)))
    .flatMap(({ path, imports, code }) =>
      imports
        .filter(({ isOurs, from }) => isOurs && roomOf(from) !== roomOf(path))
        .filter(({ from }) => !shared.has(roomOf(from)))
        .flatMap(({ from, values }) =>
          values
            .filter((name) => {
              const isData = /(?:Error|Histogram)$/.test(name);
              return /^(?:make|start)[A-Z]/.test(name) || (code.includes(`new ${name}`) && !isData);
            })
            .map((name) => `${path} makes ${name} of ${from}`),
        ),
    );
}

/** The few files that adapt the world, and what of it each touches. */
const ADAPTERS: readonly { readonly what: string; readonly sign: RegExp; readonly in: RegExp }[] = [
  {
    what: 'a clock',
    sign: /\bDate\.now\b|\bperformance\.now\b|\bnew Date\(\)|\bhrtime\b/,
    in: /^src\/(?:util\/system-clock\.ts|admin\/page\/.*)$/,
  },
  {
    what: 'a timer',
    sign: /\bset(?:Timeout|Interval)\(/,
    in: /^src\/(?:util\/system-clock\.ts|admin\/page\/.*)$/,
  },
  { what: 'randomness', sign: /\bMath\.random\b/, in: /^src\/util\/system-clock\.ts$/ },
  { what: 'the environment', sign: /\bprocess\.env\b|\bprocess\.argv\b/, in: /^src\/main\.ts$/ },
];

function worldly(files: readonly SourceFile[]): string[] {
  return files.flatMap(({ path, code }) =>
    ADAPTERS.filter((adapter) => adapter.sign.test(code) && !adapter.in.test(path)).map(
      ({ what }) => `${path} reads ${what}`,
    ),
  );
}

describe('the source', () => {
  test('imports one way only', () => {
    expect(FILES.length).toBeGreaterThan(50);
    expect(FILES.filter(({ path }) => MAY_IMPORT[roomOf(path)] === undefined)).toEqual([]);
    expect(wrongWays(FILES)).toEqual([]);
  });

  test('has no cycle', () => {
    expect(cycles(FILES)).toEqual([]);
  });

  test('has pure rooms that import one parser and no part of Node', () => {
    expect(impure(FILES)).toEqual([]);
  });

  test('constructs in app alone', () => {
    expect(constructions(FILES)).toEqual([]);
  });

  test('reads clocks, randomness and the environment only where they are adapted', () => {
    expect(worldly(FILES)).toEqual([]);
  });

  test('imports no test, demo or bench', () => {
    const outside = FILES.flatMap(({ path, imports }) =>
      imports
        .filter(({ isOurs, from }) => isOurs && /^(?!src\/|package\.json)/.test(from))
        .map(({ from }) => `${path} → ${from}`),
    );
    expect(outside).toEqual([]);
  });

  test('knows Azion in its preset alone, and where presets are chosen', () => {
    const knowing = FILES.filter(({ text }) => /azion/i.test(text)).map(({ path }) => path);
    expect(knowing.toSorted()).toEqual([
      'src/config/settings.ts',
      'src/presets/azion-v4.ts',
      'src/presets/azion.ts',
      'src/presets/presets.ts',
    ]);
  });
});

describe('these tests can fail', () => {
  const lawful = readSource('src/util/heap.ts', "import type { A } from './slots.ts';\n");

  test.each<[string, (files: SourceFile[]) => string[], string, string]>([
    ['an import up', wrongWays, 'src/budget/x.ts', "import { g } from '../gateway/gateway.ts';"],
    ['a type from above', wrongWays, 'src/ledger/x.ts', "import type { C } from '../app/app.ts';"],
    ['a dynamic import up', wrongWays, 'src/budget/x.ts', "const a = import('../main.ts');"],
    ['a cycle', cycles, 'src/util/slots.ts', "import { Heap } from './heap.ts';"],
    ['Node in the core', impure, 'src/budget/x.ts', "import { readFileSync } from 'node:fs';"],
    [
      'a store made by a step',
      constructions,
      'src/gateway/x.ts',
      "import { LocalLedger } from '../ledger/local/local-ledger.ts';\nnew LocalLedger();",
    ],
    ['a clock', worldly, 'src/budget/x.ts', 'const now = Date.now();'],
    ['randomness', worldly, 'src/budget/x.ts', 'const a = Math.random();'],
    ['the environment', worldly, 'src/config/x.ts', 'const a = process.env;'],
  ])('on %s', (_what, find, path, text) => {
    expect(find([lawful, readSource(path, text)])).toHaveLength(1);
    expect(find([lawful])).toEqual([]);
  });
});
