import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { COMMANDS } from '../../src/cli/run.ts';
import { headgate } from '../support/spawned.ts';

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

test('bash completes commands, options and shells', async () => {
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
  expect(complete('headgate', 'che')).toEqual(['check-config']);
  expect(complete('headgate', 'logs', '--min')).toEqual(['--min-wait']);
  expect(complete('headgate', 'completion', 'f')).toEqual(['fish']);
  expect(complete('headgate', 'env', 't')).toEqual(['terraform']);
  expect(complete('headgate', 'logs', '--outcome', 's')).toEqual(['shed']);
  expect(complete('headgate', 'logs', '--outcome', '=', 'a')).toEqual(['answered', 'aborted']);
  expect(complete('headgate', 'logs', '--outcome', '=')).toHaveLength(4);
  expect(complete('headgate', 'logs', '--outcome', 'shed,f')).toEqual(['shed,failed']);
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
