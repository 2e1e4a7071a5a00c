import { readdirSync, readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { fileURLToPath } from 'node:url';
import jsTokens from 'js-tokens';
import { check } from 'recheck';
import { expect, test } from 'vitest';

/** Patterns that may take more than linear time, and why no caller can use that. */
const NOT_LINEAR: Readonly<Record<string, string>> = {
  // The operator writes these texts.
  [String.raw`/^\s*([^=]*)=(.*?)\s*$/s`]: 'a caller key in the settings',
  [String.raw`/(?:; please use .*)? at line \d+, column \d+:?$/`]: "the YAML parser's own message",
  [String.raw`/^(?:\[([0-9A-Fa-f:.]+)\]|([^:]*|.*:.*:.*))(?::(\d+))?$/`]: 'an entry of NO_PROXY',
  [String.raw`/\/+$/`]: 'the path of the upstream URL in the settings',
  // The text has a bound.
  [String.raw`/([\d.]+)([dhms]+)/g`]: 'a duration has at most 64 characters',
  // Only a line break makes it backtrack, and targets with one are refused before.
  [String.raw`/^(https?):\/\/([^/?#]*)(.*)$/i`]: 'a request target',
};

const SRC = fileURLToPath(new URL('../src/', import.meta.url));

/** Every regular expression literal of the sources. */
function patterns(): Set<string> {
  const found = new Set<string>();
  for (const file of readdirSync(SRC, { recursive: true, encoding: 'utf8' })) {
    if (!/\.[jt]s$/.test(file)) continue;
    const text = readFileSync(SRC + file, 'utf8');
    const code = file.endsWith('.ts') ? stripTypeScriptTypes(text) : text;
    for (const { type, value } of jsTokens(code)) {
      if (type === 'RegularExpressionLiteral') found.add(value);
    }
  }
  return found;
}

async function isLinear(literal: string): Promise<boolean> {
  const [, source = '', flags = ''] = /^\/(.*)\/([a-z]*)$/s.exec(literal) ?? [];
  // Without times of its own, which a busy machine exceeds, the checker counts steps alone.
  const steps = { attackTimeout: null, incubationTimeout: null };
  const { status } = await check(source, flags, { timeout: 240_000, ...steps, randomSeed: 1 });
  if (status === 'unknown') throw new Error(`the checker found no answer for ${literal}`);
  return status === 'safe';
}

test('every pattern takes linear time, unless no caller can use that it does not', async () => {
  const all = [...patterns()];
  expect(all.length).toBeGreaterThan(50);
  const slow: string[] = [];
  for (const literal of all) if (!(await isLinear(literal))) slow.push(literal);
  expect(slow.toSorted()).toEqual(Object.keys(NOT_LINEAR).toSorted());
});

test('the checker finds the pattern that once stopped the process for seconds', async () => {
  expect(await isLinear(String.raw`/"(?:[^"\\]|\\.)*"/g`)).toBe(false);
});
