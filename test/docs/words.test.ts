import { globSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { ROOT } from '../support/spawned.ts';
import { read } from './markdown.ts';

/**
 * Words that comments and pages no longer use, with what to write instead. The glossary is in
 * docs/architecture.md. The forms of a word are separated by `|`.
 */
const RETIRED: Readonly<Record<string, string>> = {
  // Pronouns that do not name the noun.
  'nobody|somebody|anybody|everybody': 'the noun: no caller, a replica, each operator',
  'whoever|whomever': 'the noun: the caller that, the part that',
  'who comes|what comes|what waits|what goes': 'the noun: the next ticket, waiting tickets',
  'so many': 'a number: n operations',
  // Names that the field has a term for.
  'stock|stocks|stocked': 'prefetch, prefetched leases',
  'comeback|comebacks': 'refill',
  'come back|comes back|came back|coming back': 'refill, return, retry',
  'give back|gives back|gave back|given back|giving back': 'return',
  'roll|rolls': 'linked list',
  'walk|walks|walked': 'pipeline',
  'goes round|go round|going round': 'is retried',
  insured: 'failover',
  leaving: 'CallerSignal, disconnecting',
  'handover|handovers|succession': 'transfer',
  'chance|chances': 'random',
  'twin|twins': 'the same model',
  // Verbs of people.
  'hear|hears|heard|hearing': 'receive',
  'tell|tells|told|telling': 'report, indicate, show',
  'untold|news': 'unreported, something to report',
  'take on|takes on|took on|taken on': 'accept',
  'is void|are void': 'is rejected, has no effect',
  'let go|lets go|letting go': 'release, forget',
  'vouch|vouches': 'guarantee',
  'rings|rang': 'fires, runs',
  // Riddles and metaphors.
  'last words|falls silent|fell silent|turns the hands': 'what happens, in standard terms',
};

/** Words that a file must use because they are stored, sent, or part of the public contract. */
const ALLOWED: readonly (readonly [path: string, word: string])[] = [
  // The setting's source in `GET /config`.
  ['src/config/effective.ts', 'nobody'],
  // Field names of the step's messages and of the state in Redis.
  ['src/ledger/shared/script/prefetch.lua', 'stock'],
  ['src/ledger/shared/script/prefetch.lua', 'stocks'],
  ['src/ledger/shared/script/step.lua', 'stock'],
];

const WORDS = Object.keys(RETIRED).flatMap((forms) => forms.split('|'));
const INSTEAD = new Map(
  Object.entries(RETIRED).flatMap(([forms, instead]) =>
    forms.split('|').map((word): [string, string] => [word, instead]),
  ),
);
// A line break of the prose, with a comment's margin, is a space between two words.
const PATTERN = new RegExp(
  `\\b(?:${WORDS.map((word) => word.replaceAll(' ', '(?:\\s|\\*|--|//)+')).join('|')})\\b`,
  'gi',
);

interface Found {
  readonly word: string;
  readonly line: number;
}

function retiredWords(text: string): Found[] {
  return [...text.matchAll(PATTERN)].map(({ 0: found, index }) => ({
    word: found.toLowerCase().replaceAll(/(?:\s|\*|--|\/\/)+/g, ' '),
    line: text.slice(0, index).split('\n').length,
  }));
}

const COMMENTS = { lua: /--\[\[[^]*?\]\]|--.*$/gm, other: /\/\*[^]*?\*\/|(?<=^|\s)\/\/.*$/gm };

/** Returns `code` with everything but its comments replaced by spaces, so that lines stay. */
function commentsOf(path: string, code: string): string {
  let comments = '';
  let end = 0;
  const blank = (text: string): string => text.replaceAll(/[^\n]/g, ' ');
  for (const { 0: comment, index } of code.matchAll(
    path.endsWith('.lua') ? COMMENTS.lua : COMMENTS.other,
  )) {
    comments += blank(code.slice(end, index)) + comment;
    end = index + comment.length;
  }
  return comments;
}

const SOURCES = globSync('src/**/*.{ts,js,lua}', { cwd: ROOT });
const PAGES = globSync(['*.md', 'docs/**/*.md', 'bench/*.md', 'examples/*.md'], {
  cwd: ROOT,
}).filter((page) => page !== 'CHANGELOG.md');

/** Each retired word in the comments of the sources and in the pages, with its place. */
const FOUND = [
  ...SOURCES.flatMap((path) => foundIn(path, commentsOf(path, read(path)))),
  ...PAGES.flatMap((path) => foundIn(path, read(path))),
];

function foundIn(path: string, text: string): (Found & { readonly path: string })[] {
  return retiredWords(text).map(({ word, line }) => ({ path, word, line }));
}

function isAllowed({ path, word }: { path: string; word: string }): boolean {
  return ALLOWED.some(([file, allowed]) => file === path && allowed === word);
}

describe('the comments of the sources, and the pages,', () => {
  test('use no retired word', () => {
    expect(SOURCES.length).toBeGreaterThan(100);
    expect(PAGES.length).toBeGreaterThan(30);
    const wrong = FOUND.filter((found) => !isAllowed(found)).map(
      ({ path, line, word }) => `${path}:${line}: "${word}": write ${INSTEAD.get(word)}`,
    );
    expect(wrong).toEqual([]);
  });

  test('need each exception', () => {
    const unneeded = ALLOWED.filter(
      ([file, allowed]) => !FOUND.some(({ path, word }) => path === file && word === allowed),
    );
    expect(unneeded).toEqual([]);
  });
});

describe('this test can fail', () => {
  test.each(WORDS)('on "%s"', (word) => {
    expect(retiredWords(`A ticket.\nThen ${word.toUpperCase()}, a page.`)).toEqual([
      { word, line: 2 },
    ]);
  });

  test('on words that a line break of a comment separates', () => {
    const code = 'const a = 1;\n/**\n * Its slots come\n * back later.\n */\n';
    expect(retiredWords(commentsOf('src/a.ts', code))).toEqual([{ word: 'come back', line: 3 }]);
    const lua = 'local a = 1\n-- Its slots come\n-- back later.\n';
    expect(retiredWords(commentsOf('src/a.lua', lua))).toEqual([{ word: 'come back', line: 2 }]);
  });

  test('on a comment behind code, but on no code, and on no part of a word', () => {
    const code =
      "const roll = 'stock'; // Nobody walks.\nconst walk = stocks.unroll;\n// rollback\n";
    expect(retiredWords(commentsOf('src/a.ts', code))).toEqual([
      { word: 'nobody', line: 1 },
      { word: 'walks', line: 1 },
    ]);
    const lua = "local walk = 'stock' -- Nobody\n";
    expect(retiredWords(commentsOf('src/a.lua', lua))).toEqual([{ word: 'nobody', line: 1 }]);
  });
});
