import { describe, expect, test } from 'vitest';
import { readSource, sourceFiles, type SourceFile } from './support/source-files.ts';

const FILES = sourceFiles('src');

/** What each room may import from beside itself: main → cli → compose → gateway → … → core. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  main: ['cli'],
  cli: ['compose', 'config', 'logs', 'telemetry', 'system-clock', 'core'],
  compose: [
    'admin',
    'gateway',
    'ledger',
    'upstream',
    'telemetry',
    'config',
    'presets',
    'core',
    'listen',
    'end-of-turn',
  ],
  admin: ['ledger', 'upstream', 'telemetry', 'config', 'core'],
  gateway: ['ledger', 'upstream', 'telemetry', 'core'],
  // One layer: each may know the others' types, and no file of it may be in a cycle.
  ledger: ['upstream', 'telemetry', 'core'],
  upstream: ['ledger', 'telemetry', 'core'],
  telemetry: ['ledger', 'upstream', 'core'],
  config: ['presets', 'core'],
  presets: ['core'],
  logs: ['core'],
  'system-clock': ['core'],
  'end-of-turn': ['core'],
  listen: ['config'],
  core: [],
};

/** `core` of src/core/bucket.ts; `compose` of src/compose-walk.ts. */
function roomOf(path: string): string {
  const [, room = '', ...inside] = path.split('/');
  if (inside.length > 0) return room;
  return room.startsWith('compose') ? 'compose' : room.replace(/\.ts$/, '');
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

const CORE_PACKAGES: ReadonlySet<string> = new Set(['structured-headers']);

/** Packages and parts of Node that the pure core would reach the outside by. */
function impure(files: readonly SourceFile[]): string[] {
  return files
    .filter(({ path }) => roomOf(path) === 'core')
    .flatMap(({ path, imports }) =>
      imports
        .filter(({ isOurs, from }) => !isOurs && !CORE_PACKAGES.has(from))
        .map(({ from }) => `${path} → ${from}`),
    );
}

/** Steps and stores that make parts of another room, which only compose does. */
function constructions(files: readonly SourceFile[]): string[] {
  const composing = new Set(['compose', 'cli', 'main']);
  const shared = new Set(['core']);
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
    in: /^src\/(?:system-clock\.ts|admin\/page\/.*)$/,
  },
  {
    what: 'a timer',
    sign: /\bset(?:Timeout|Interval)\(/,
    in: /^src\/(?:system-clock\.ts|admin\/page\/.*)$/,
  },
  { what: 'chance', sign: /\bMath\.random\b/, in: /^src\/system-clock\.ts$/ },
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

  test('has a core that imports nothing but core, and one parser', () => {
    expect(impure(FILES)).toEqual([]);
  });

  test('constructs in compose alone', () => {
    expect(constructions(FILES)).toEqual([]);
  });

  test('reads clocks, chance and the environment only where they are adapted', () => {
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
      'src/presets/azion.ts',
      'src/presets/presets.ts',
    ]);
  });
});

describe('these tests can fail', () => {
  const lawful = readSource('src/core/heap.ts', "import type { A } from './slots.ts';\n");

  test.each<[string, (files: SourceFile[]) => string[], string, string]>([
    ['an import up', wrongWays, 'src/core/x.ts', "import { g } from '../gateway/gateway.ts';"],
    ['a type from above', wrongWays, 'src/ledger/x.ts', "import type { C } from '../compose.ts';"],
    ['a dynamic import up', wrongWays, 'src/core/x.ts', "const a = import('../main.ts');"],
    ['a cycle', cycles, 'src/core/slots.ts', "import { Heap } from './heap.ts';"],
    ['Node in the core', impure, 'src/core/x.ts', "import { readFileSync } from 'node:fs';"],
    [
      'a store made by a step',
      constructions,
      'src/gateway/x.ts',
      "import { MemoryLedger } from '../ledger/memory-ledger.ts';\nnew MemoryLedger();",
    ],
    ['a clock', worldly, 'src/core/x.ts', 'const now = Date.now();'],
    ['chance', worldly, 'src/core/x.ts', 'const a = Math.random();'],
    ['the environment', worldly, 'src/config/x.ts', 'const a = process.env;'],
  ])('on %s', (_what, find, path, text) => {
    expect(find([lawful, readSource(path, text)])).toHaveLength(1);
    expect(find([lawful])).toEqual([]);
  });
});
