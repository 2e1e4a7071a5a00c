import type { Readable, Writable } from 'node:stream';
import { loadConfig, type Loaded, type LoadOptions } from '../config/config.ts';
import type { Settings } from '../config/reload.ts';

/** What a command may touch of the process it runs in. */
export interface Surroundings {
  readonly env: LoadOptions['env'];
  readonly readFile: LoadOptions['readFile'];
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** Opened only when asked for: a gateway has no use for its standard input. */
  readonly stdin: () => Readable & MaybeTerminal;
  /** Standard output as a stream, for what is too much to hold. */
  readonly output: Writable & MaybeTerminal;
  /** Whether somebody watches what goes to `stderr`. */
  readonly errorsToTerminal: boolean;
  readonly version: string;
}

interface MaybeTerminal {
  readonly isTTY?: boolean;
}

/** One option of a command line: `--name`, or `--name VALUE` when it has a `value`. */
export interface Option {
  readonly name: string;
  /** What stands for the value in the help; absent: the option is there or not. */
  readonly value?: string;
  readonly summary: string;
}

/** What was asked of a command. */
export interface Invocation extends Surroundings {
  /** The values of options that take one, and `''` for those that are just there. */
  readonly options: ReadonlyMap<string, string>;
  /** What stands after the command's name; empty unless the command names its operands. */
  readonly operands: readonly string[];
}

/** 0: well; 1: failed; 2: wrong use or settings. */
export type ExitCode = number;

/** One thing that Headgate does; an entry in COMMANDS is all it takes to add one. */
export interface Command {
  readonly name: string;
  readonly summary: string;
  readonly options: readonly Option[];
  /** What stands for further words in the help, such as `[FILE…]`; absent: there may be none. */
  readonly operands?: string;
  readonly run: (invocation: Invocation) => ExitCode | Promise<ExitCode>;
}

/** For every command that reads the settings. */
export const CONFIG_OPTION: Option = {
  name: 'config',
  value: 'FILE',
  summary: 'a YAML file of settings; environment variables go before it',
};

/** Reads the settings that an invocation names, now; they may be others than a minute ago. */
export function readSettings({ env, readFile, options }: Invocation): Loaded {
  return loadConfig({ env, configPath: options.get(CONFIG_OPTION.name), readFile });
}

/** Runs `run` with the settings in force; bad ones are told one a line, and the code is 2. */
export function withSettings(
  run: (settings: Settings, invocation: Invocation) => ExitCode | Promise<ExitCode>,
): Command['run'] {
  return (invocation) => {
    const loaded = readSettings(invocation);
    if (loaded.kind === 'ok') return run(loaded, invocation);
    invocation.stderr(loaded.problems.map((problem) => `headgate: ${problem}\n`).join(''));
    return 2;
  };
}
