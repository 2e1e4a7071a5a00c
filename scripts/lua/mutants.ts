import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { LUA_MODULES, sourcesOf } from './model-to-lua.ts';

/**
 * Tests the tests of the budget model and of the fair queue: changes one place of its source at random, generates the Lua,
 * runs their tests and those of the ledgers, and lists the changes that no test noticed.
 *
 *     npm run mutants -- 70 1    how many, and the seed of the choice
 *
 * It works on a copy. A run of 70 takes about an hour on two cores.
 */

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** The quickest first: most mutants need no more. */
const TESTS = [
  ['test/budget/bucket.test.ts', 'test/budget/share.test.ts', 'test/budget/slots.test.ts'],
  ['test/queue'],
  ['test/budget'],
  ['test/ledger'],
];
/** Lets property tests end with their first failure, which they would otherwise simplify for long. */
const ONCE = 'end-on-failure.mjs';
const ONCE_TEXT = `import fc from 'fast-check'; fc.configureGlobal({ endOnFailure: true });`;
/** A mutant that runs longer loops for ever, which a test would notice. */
const MAX_MS = 150_000;

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
    if (ts.isExpressionStatement(node)) add(node, ';');
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

/** Whether a test fails, or the Lua cannot be generated. */
function isNoticed(copy: string): boolean {
  const env = {
    ...process.env,
    HEADGATE_TEST_RUNS: '150',
    NODE_OPTIONS: `--import ${join(copy, ONCE)}`,
  };
  const options = { cwd: copy, env, timeout: MAX_MS, killSignal: 'SIGKILL' } as const;
  const generated = spawnSync(process.execPath, ['scripts/lua/lua.ts'], options);
  if (generated.status !== 0) return true;
  return TESTS.some((folders) => {
    const vitest = join(copy, 'node_modules/vitest/vitest.mjs');
    const args = [vitest, 'run', '--bail', '1', '--reporter', 'dot', ...folders];
    return spawnSync(process.execPath, args, options).status !== 0;
  });
}

const [count = 70, seed = 1] = process.argv.slice(2).map(Number);
const all = LUA_MODULES.flatMap(sourcesOf).flatMap(mutantsOf);
const copy = copyProject();
let noticed = 0;
const chosen = choose(all, count, seed);
for (const [i, { path, line, start, end, before, after }] of chosen.entries()) {
  const text = readFileSync(ROOT + path, 'utf8');
  writeFileSync(join(copy, path), text.slice(0, start) + after + text.slice(end));
  const isSeen = isNoticed(copy);
  if (isSeen) noticed++;
  const what = `${path}:${line}: ${before.replaceAll(/\s+/g, ' ')} → ${after.replaceAll(/\s+/g, ' ')}`;
  process.stdout.write(`${i + 1}/${chosen.length} ${isSeen ? 'noticed ' : 'SURVIVED'} ${what}\n`);
  writeFileSync(join(copy, path), text);
}
process.stdout.write(
  `${noticed} of ${chosen.length} mutants (of ${all.length} possible) were noticed\n`,
);
rmSync(copy, { recursive: true });
