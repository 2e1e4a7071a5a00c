import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { COMMANDS } from '../../src/cli/run.ts';
import { headgate } from '../support/spawned.ts';
import { needs, pathOf } from '../support/tools.ts';

/** What every shell completes, by the line behind which Tab is pressed. */
const LINES: readonly (readonly [line: string, words: readonly string[]])[] = [
  ['headgate che', ['check-config']],
  ['headgate --v', ['--version']],
  ['headgate logs --min', ['--min-wait']],
  ['headgate completion f', ['fish']],
  ['headgate env t', ['terraform']],
  ['headgate logs --outcome s', ['shed']],
];

async function script(shell: string): Promise<string> {
  const { code, stdout, stderr } = await headgate(['completion', shell]).ended();
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return stdout;
}

test.each(['bash', 'zsh', 'fish'])(
  '%s: every command and option is in the script',
  async (shell) => {
    const text = await script(shell);
    for (const { name, options } of COMMANDS) {
      expect(text).toContain(name);
      for (const option of options) {
        expect(text).toContain(shell === 'fish' ? `-l ${option.name}` : `--${option.name}`);
      }
    }
  },
);

test('bash completes commands, options and their values', async () => {
  const text = await script('bash');
  const complete = (...words: string[]): string[] =>
    execFileSync(
      'bash',
      [
        '-c',
        `${text}
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_headgate
printf '%s\n' "\${COMPREPLY[@]}"`,
        'bash',
        ...words,
      ],
      { encoding: 'utf8' },
    )
      .trim()
      .split('\n');
  for (const [line, words] of LINES) {
    expect([line, complete(...line.split(' '))]).toEqual([line, words]);
  }
  expect(complete('headgate', 'logs', '--outcome', '=', 'a')).toEqual(['answered', 'aborted']);
  expect(complete('headgate', 'logs', '--outcome', '=')).toHaveLength(4);
  expect(complete('headgate', 'logs', '--outcome', 'shed,f')).toEqual(['shed,failed']);
});

/**
 * Presses Tab in a terminal of zsh behind a line. A function in place of the builtin writes the words
 * that are offered to a file, and the shell ends behind its first completion.
 */
const PRESS_TAB = `
zmodload zsh/zpty
cat > $FOLDER/setup <<'SETUP'
PROMPT=
autoload -Uz compinit && compinit -u -d $FOLDER/dump
bindkey '^I' complete-word
compadd() {
  [[ \${@[1,(i)(-|--)]} == *-(O|A|D)\\ * ]] && { builtin compadd "$@"; return }
  local -a offered
  builtin compadd -A offered "$@"
  print -rl -- $offered >> $FOLDER/offered
}
comppostfuncs=(exit)
SETUP
zpty terminal zsh -f -i
zpty -w terminal 'source $FOLDER/setup; source $FOLDER/headgate'
zpty -w -n terminal "$LINE"$'\t'
while zpty -r terminal output; do :; done
`;

test('zsh completes commands, options and their values', { tags: needs('zsh') }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'headgate-zsh-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'headgate'), await script('zsh'));
  const complete = (line: string): string[] => {
    writeFileSync(join(folder, 'offered'), '');
    execFileSync(pathOf('zsh'), ['-f', '-c', PRESS_TAB], {
      cwd: folder,
      env: { PATH: process.env['PATH'], FOLDER: folder, LINE: line },
      // A shell that does not understand the setup would wait for ever.
      timeout: 120_000,
    });
    return readFileSync(join(folder, 'offered'), 'utf8').split('\n').filter(Boolean);
  };
  for (const [line, words] of LINES) expect([line, complete(line)]).toEqual([line, words]);
  expect(complete('headgate logs --outcome=s')).toEqual(['shed']);
  expect(complete('headgate logs --outcome shed,f')).toEqual(['failed']);
  expect(complete('headgate logs --caller ')).toEqual([]);
  expect(complete('headgate serve --config o')).toEqual(['offered']);
});

test('fish completes commands, options and their values', { tags: needs('fish') }, async () => {
  const text = await script('fish');
  const complete = (line: string): (string | undefined)[] =>
    execFileSync(pathOf('fish'), ['-N', '-c', `${text}\ncomplete -C '${line}'`], {
      encoding: 'utf8',
    })
      .split('\n')
      .filter(Boolean)
      .map((each) => each.split('\t')[0]);
  for (const [line, words] of LINES) expect([line, complete(line)]).toEqual([line, words]);
  expect(complete('headgate logs --outcome shed,f')).toEqual(['shed,failed']);
  expect(complete('headgate check-config ')).toEqual([]);
  expect(complete('headgate logs --caller ')).toEqual([]);
  expect(complete('headgate serve --config tsconfig.p')).toEqual(['tsconfig.page.json']);
});

test.each(['bash', 'zsh', 'fish'])(
  '%s: every value that is one of a few is in the script',
  async (shell) => {
    const text = await script(shell);
    const lists = COMMANDS.flatMap(({ operandValues, options }) =>
      [operandValues].concat(options.map(({ values }) => values)),
    ).filter((values) => values !== undefined);
    expect(lists.length).toBeGreaterThan(2);
    for (const values of lists) expect(text).toContain(values.join(' '));
  },
);

test('an unknown shell is rejected with what was expected', async () => {
  expect(await headgate(['completion', 'tcsh']).ended()).toMatchObject({
    code: 2,
    stdout: '',
    stderr: 'headgate: expected one of bash, zsh, fish, got tcsh\n',
  });
});
