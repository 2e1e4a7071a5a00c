import { describe, expect, test } from 'vitest';
import type { Command } from '../../src/cli/command.ts';
import { readCommandLine } from '../../src/cli/command-line.ts';

const serve: Command = {
  name: 'serve',
  summary: 'serves',
  options: [{ name: 'config', value: 'FILE', summary: 'a file' }],
  run: () => 0,
};
const logs: Command = {
  name: 'logs',
  summary: 'reads logs',
  options: [{ name: 'failed', summary: 'only failures' }],
  operands: '[FILE…]',
  run: () => 0,
};
const COMMANDS = [serve, logs];

function reason(...argv: string[]): string {
  const line = readCommandLine(argv, COMMANDS);
  return line.kind === 'wrong' ? line.reason : `not wrong: ${line.kind}`;
}

describe('a command line', () => {
  test('without any argument asks for help; options alone are for the first command', () => {
    expect(readCommandLine([], COMMANDS)).toEqual({ kind: 'help', command: undefined });
    expect(readCommandLine(['--config', 'a'], COMMANDS)).toMatchObject({ command: serve });
  });

  test('may have options before or after the command, with or without an equals sign', () => {
    const options = new Map([['config', 'a.yaml']]);
    for (const argv of [
      ['--config', 'a.yaml'],
      ['--config=a.yaml', 'serve'],
      ['serve', '--config', 'a.yaml'],
    ]) {
      expect(readCommandLine(argv, COMMANDS)).toMatchObject({ command: serve, options });
    }
  });

  test('passes further words to a command that takes operands', () => {
    expect(readCommandLine(['logs', '--failed', 'a', 'b'], COMMANDS)).toMatchObject({
      command: logs,
      options: new Map([['failed', '']]),
      operands: ['a', 'b'],
    });
  });

  test('may have --help or --version in any place', () => {
    expect(readCommandLine(['nonsense', '-h'], COMMANDS)).toEqual({
      kind: 'help',
      command: undefined,
    });
    expect(readCommandLine(['logs', '--help'], COMMANDS)).toEqual({ kind: 'help', command: logs });
    expect(readCommandLine(['serve', '--version'], COMMANDS)).toEqual({ kind: 'version' });
  });

  test('is rejected with what was expected, what it has, and a suggestion', () => {
    expect(reason('serv')).toBe('expected one of serve, logs, got serv; did you mean serve?');
    expect(reason('--confg', 'a.yaml')).toBe(
      'expected one of --config, --failed, got --confg; did you mean --config?',
    );
    expect(reason('--config')).toBe('expected --config FILE, got --config alone');
    expect(reason('logs', '--failed=yes')).toBe('expected --failed alone, got --failed=yes');
    expect(reason('logs', '--config', 'a')).toBe(
      'expected one of --failed with logs, got --config',
    );
    expect(reason('serve', 'twice')).toBe('expected nothing after serve, got twice');
  });
});
