import type { Readable, Writable } from 'node:stream';
import { loadConfig, type LoadOptions, type LoadResult, type Settings } from '../config/config.ts';
import { printable } from '../logs/terminal-text.ts';

/** What a command may use of its process. */
export interface CommandContext {
  readonly env: LoadOptions['env'];
  readonly readFile: LoadOptions['readFile'];
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** Opened only when called, because the gateway does not use its standard input. */
  readonly stdin: () => Readable & MaybeTerminal;
  /** Standard output as a stream, for output that is too large for memory. */
  readonly stdoutStream: Writable & MaybeTerminal;
  readonly stderrIsTerminal: boolean;
  readonly version: string;
  /** Called by a command that listens to SIGTERM and SIGINT itself; until then they end it. */
  readonly releaseSignals: () => void;
}

interface MaybeTerminal {
  readonly isTTY?: boolean;
}

/** One option of a command line: `--name`, or `--name VALUE` when it has a `value`. */
export interface Option {
  readonly name: string;
  /** The placeholder of the value in the help; absent: the option takes no value. */
  readonly value?: string;
  /** All values, or all words of a list of them; absent: any text. */
  readonly values?: readonly string[];
  readonly summary: string;
}

/** A command's parsed arguments, and its context. */
export interface Invocation extends CommandContext {
  /** The value of each option that is present; `''` for an option that takes none. */
  readonly options: ReadonlyMap<string, string>;
  /** The words after the command's name; empty unless the command takes operands. */
  readonly operands: readonly string[];
}

/** 0: success; 1: failure; 2: wrong usage or settings. */
export type ExitCode = number;

/** A command of Headgate. To add one, add it to COMMANDS. */
export interface Command {
  readonly name: string;
  readonly summary: string;
  readonly options: readonly Option[];
  /** The placeholder of the operands in the help, such as `[FILE…]`; absent: it takes none. */
  readonly operands?: string;
  /** All operands that are accepted; absent: any, such as files. */
  readonly operandValues?: readonly string[];
  /** The settings that its own help explains: these variables, or all. Absent: it uses none. */
  readonly settings?: readonly string[] | 'all';
  readonly run: (invocation: Invocation) => ExitCode | Promise<ExitCode>;
}

/** The option of every command that loads the settings. */
export const CONFIG_OPTION: Option = {
  name: 'config',
  value: 'FILE',
  summary: 'a YAML file of settings; environment variables take precedence',
};

/** Loads the settings of an invocation. A later call reads the files again. */
export function readSettings({ env, readFile, options }: Invocation): LoadResult {
  return loadConfig({ env, configPath: options.get(CONFIG_OPTION.name), readFile });
}

/**
 * Runs `run` with the settings. Bad settings are printed, one problem per line, and passed to
 * `onBad`; the code is 2.
 */
export function withSettings(
  run: (settings: Settings, invocation: Invocation) => ExitCode | Promise<ExitCode>,
  onBad: (problems: readonly string[], invocation: Invocation) => void | Promise<void> = () => {},
): Command['run'] {
  return async (invocation) => {
    const loaded = readSettings(invocation);
    if (loaded.kind === 'ok') return run(loaded, invocation);
    invocation.stderr(
      loaded.problems.map((problem) => `headgate: ${printable(problem)}\n`).join(''),
    );
    await onBad(loaded.problems, invocation);
    return 2;
  };
}
