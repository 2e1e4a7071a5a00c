import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { LUA_MODULES, sourcesOf } from './model-to-lua.ts';

/**
 * Tests the tests of the budget model and of the fair queue: changes one place of its source at random, generates the Lua,
 * runs their tests and those of the ledgers, and prints what noticed the change: the generator, or a
 * test. It lists the changes that nothing noticed, and those whose tests did not end in time.
 *
 *     npm run mutants -- 70 1                  how many, and the seed of the choice
 *     npm run mutants -- 70 1 44               the same ones from the 45th on
 *     npm run mutants -- 70 1 0 src/budget/    only in files whose paths start so; several may be given
 *
 * It works on a copy. A run of 70 takes about an hour on two cores.
 */

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const vitest = (...paths: readonly string[]): readonly string[] =>
  ['node_modules/vitest/vitest.mjs', 'run', '--bail', '1'].concat(paths);
/** What has to succeed, as arguments of Node. The quickest first: most mutants need no more. */
const STAGES: readonly (readonly string[])[] = [
  ['scripts/lua/lua.ts'],
  vitest(
    ...['bucket', 'costs', 'reserve', 'share', 'slots', 'unknown-limit'].map(
      (name) => `test/budget/${name}.test.ts`,
    ),
    'test/queue',
  ),
  vitest('test/budget'),
  vitest('test/ledger'),
];
/** Lets property tests end with their first failure, which they would otherwise simplify for long. */
const ONCE = 'end-on-failure.mjs';
const ONCE_TEXT = `import fc from 'fast-check'; fc.configureGlobal({ endOnFailure: true });`;
/** How much longer than without a change a stage may take, and the least that it may take. */
const SLOWER = 4;
const MIN_MS = 60_000;
/** The longest time of a stage without a change. */
const MAX_MS = 3_600_000;

interface Mutant {
  readonly path: string;
  readonly line: number;
  readonly start: number;
  readonly end: number;
  readonly before: string;
  readonly after: string;
}

const OTHER: Readonly<Record<string, string>> = {
  '<': '<=',
  '<=': '<',
  '>': '>=',
  '>=': '>',
  '===': '!==',
  '!==': '===',
  '+': '-',
  '-': '+',
  '*': '/',
  '/': '*',
  '&&': '||',
  '||': '&&',
  '+=': '-=',
  '-=': '+=',
};

function mutantsOf(path: string): Mutant[] {
  const text = readFileSync(ROOT + path, 'utf8');
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.ES2024, true);
  const found: Mutant[] = [];
  const add = (node: ts.Node, after: string): void => {
    const start = node.getStart(file);
    const line = file.getLineAndCharacterOfPosition(start).line + 1;
    found.push({ path, line, start, end: node.end, before: node.getText(file), after });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isTypeNode(node) || ts.isInterfaceDeclaration(node)) return;
    if (ts.isImportDeclaration(node)) return;
    if (ts.isBinaryExpression(node)) {
      const other = OTHER[node.operatorToken.getText(file)];
      if (other !== undefined) add(node.operatorToken, other);
    }
    if (ts.isNumericLiteral(node)) add(node, node.text === '0' ? '1' : `(${node.text} * 2)`);
    if (node.kind === ts.SyntaxKind.TrueKeyword) add(node, 'false');
    if (node.kind === ts.SyntaxKind.FalseKeyword) add(node, 'true');
    if (ts.isIdentifier(node) && /^(?:min|max)$/.test(node.text)) {
      add(node, node.text === 'min' ? 'max' : 'min');
    }
    if (ts.isIfStatement(node)) add(node.expression, `!(${node.expression.getText(file)})`);
    if (ts.isExpressionStatement(node)) add(node, '{}');
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

/** A generator of the same numbers for the same seed (mulberry32). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function choose(all: readonly Mutant[], count: number, seed: number): Mutant[] {
  const next = random(seed);
  const keyed = all.map((mutant) => ({ mutant, key: next() }));
  return keyed
    .toSorted((a, b) => a.key - b.key)
    .slice(0, count)
    .map(({ mutant }) => mutant);
}

function copyProject(): string {
  const copy = mkdtempSync(join(tmpdir(), 'headgate-mutants-'));
  const tracked = execFileSync('git', ['ls-files'], { cwd: ROOT, encoding: 'utf8' }).trim();
  for (const path of tracked.split('\n')) cpSync(ROOT + path, join(copy, path));
  for (const folder of ['', 'scripts/lua']) {
    symlinkSync(join(ROOT, folder, 'node_modules'), join(copy, folder, 'node_modules'));
  }
  writeFileSync(join(copy, ONCE), ONCE_TEXT);
  return copy;
}

interface Verdict {
  readonly kind: 'noticed' | 'timed out' | 'survived';
  /** The test that failed, or what failed or did not end. */
  readonly by: string;
}

interface Run {
  readonly hasPassed: boolean;
  readonly output: string;
  readonly tookMs: number;
}

/**
 * Runs a script of the copy with Node. `timeout` (coreutils) ends it after `maxMs`, with the workers
 * and servers that it started: those of an endless loop would run on.
 */
function run(copy: string, maxMs: number, args: readonly string[]): Run {
  const env = {
    ...process.env,
    HEADGATE_TEST_RUNS: '150',
    NODE_OPTIONS: `--import ${join(copy, ONCE)}`,
    NO_COLOR: '1',
  };
  const startedAt = performance.now();
  const command = ['--signal=KILL', String(Math.ceil(maxMs / 1000)), process.execPath, ...args];
  const { error, status, stdout, stderr } = spawnSync('timeout', command, {
    cwd: copy,
    env,
    encoding: 'utf8',
    maxBuffer: Infinity,
  });
  if (error !== undefined) throw error;
  const tookMs = performance.now() - startedAt;
  return { hasPassed: status === 0, output: stdout + stderr, tookMs };
}

/** Returns how long each stage may take: they all succeed without a change. */
function timeLimits(copy: string): number[] {
  return STAGES.map((args) => {
    const { hasPassed, output, tookMs } = run(copy, MAX_MS, args);
    if (!hasPassed) throw new Error(`expected success without a change, got:\n${output}`);
    return Math.max(MIN_MS, SLOWER * tookMs);
  });
}

function verdictOn(copy: string, limits: readonly number[]): Verdict {
  for (const [i, args] of STAGES.entries()) {
    const maxMs = limits[i] ?? MAX_MS;
    const { hasPassed, output, tookMs } = run(copy, maxMs, args);
    if (hasPassed) continue;
    const [, by = args.join(' ')] = /^\s*FAIL\s+(.*)$/m.exec(output) ?? [];
    const isTimeout = tookMs >= maxMs || output.includes('Test timed out');
    return { kind: isTimeout ? 'timed out' : 'noticed', by };
  }
  return { kind: 'survived', by: 'all tests' };
}

const [count = '70', seed = '1', skipped = '0', ...prefixes] = process.argv.slice(2);
const isChosen = (path: string): boolean =>
  prefixes.length === 0 || prefixes.some((prefix) => path.startsWith(prefix));
const all = LUA_MODULES.flatMap(sourcesOf).filter(isChosen).flatMap(mutantsOf);
const chosen = choose(all, Number(count), Number(seed));
const copy = copyProject();
try {
  const limits = timeLimits(copy);
  const seconds = limits.map((ms) => Math.ceil(ms / 1000)).join(', ');
  process.stdout.write(
    `time limits of the generator and of each part of the tests, in seconds: ${seconds}\n`,
  );
  const counts = { noticed: 0, 'timed out': 0, survived: 0 };
  for (const [i, { path, line, start, end, before, after }] of chosen.entries()) {
    if (i < Number(skipped)) continue;
    const text = readFileSync(join(copy, path), 'utf8');
    writeFileSync(join(copy, path), text.slice(0, start) + after + text.slice(end));
    const { kind, by } = verdictOn(copy, limits);
    writeFileSync(join(copy, path), text);
    counts[kind]++;
    const change = `${before} → ${after}`.replaceAll(/\s+/g, ' ');
    process.stdout.write(
      `${i + 1}/${chosen.length} ${path}:${line}: ${change}\n    ${kind}: ${by}\n`,
    );
  }
  process.stdout.write(
    `of ${all.length} possible mutants: ${counts.noticed} noticed, ${counts.survived} survived, ` +
      `${counts['timed out']} timed out\n`,
  );
} finally {
  rmSync(copy, { recursive: true });
}
