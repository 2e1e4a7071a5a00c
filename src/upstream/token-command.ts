import { spawn } from 'node:child_process';
import type { Clock } from '../util/clock.ts';
import type { ObtainedToken } from './renewed-token.ts';
import type { TokenFormat } from './token.ts';

export interface TokenCommandOptions {
  /** A command line for `/bin/sh -c`. */
  readonly command: string;
  /** How long its token is used; absent: until the API refuses it. */
  readonly refreshMs: number | undefined;
  /** The environment of the gateway; absent: that of this process. */
  readonly env: Readonly<Record<string, string | undefined>> | undefined;
  readonly format: TokenFormat;
  readonly clock: Clock;
}

const TIMEOUT_MS = 10_000;
/** Characters that are kept of each stream. */
const MAX_OUTPUT = 16 * 1024;
/** Characters of the command's standard error that an error shows. */
const MAX_SHOWN = 500;
/** Shorter words of the output are no tokens, and hiding them would make the error unreadable. */
const LEAST_HIDDEN = 6;

/**
 * Returns a function that runs the command and reads the token from its standard output, without
 * spaces around it. The shell's own quoting applies, so that there is none of ours to learn. The
 * command gets the gateway's environment without its `HEADGATE_*` variables, which hold other secrets.
 *
 * The function rejects if the command does not end within 10 s, fails, prints more than 16,384
 * characters, or prints no token. Its error has the beginning of standard error, without the token.
 */
export function makeTokenCommand(
  options: TokenCommandOptions,
): (last: string | undefined, signal: AbortSignal) => Promise<ObtainedToken> {
  const { command, refreshMs, format, clock } = options;
  const env = options.env === undefined ? undefined : withoutOwn(options.env);

  return async (last, signal) => {
    const { fault, stdout, stderr } = await run(command, env, clock, signal);
    const token = fault === undefined ? format.parse(stdout.trim()) : undefined;
    if (token !== undefined) return { token, renewAfterMs: refreshMs };
    const got = fault ?? `${stdout.trim().length} characters that are not ${format.expected}`;
    const shown = withoutTokens(stderr, [...stdout.split(/\s+/), last ?? '']);
    const detail = shown === '' ? '' : `: ${shown}`;
    throw new Error(`expected a command that prints a token, got ${got}${detail}`);
  };
}

interface Result {
  /** What was wrong with its end; `undefined` for exit code 0. */
  readonly fault: string | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a command line. Never rejects. The command is in a process group of its own, so that the
 * processes that it started are ended with it.
 */
function run(
  command: string,
  env: NodeJS.ProcessEnv | undefined,
  clock: Clock,
  signal: AbortSignal,
): Promise<Result> {
  return new Promise((resolve) => {
    const child = spawn('/bin/sh', ['-c', command], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(env === undefined ? {} : { env }),
    });
    const output = { stdout: '', stderr: '' };
    const end = (fault: string | undefined): void => {
      timer.cancel();
      signal.removeEventListener('abort', onAbort);
      resolve({ fault, ...output });
    };
    const endEarly = (fault: string): void => {
      end(fault);
      child.stdout.destroy();
      child.stderr.destroy();
      killGroup(child.pid);
    };
    const onAbort = (): void => endEarly('the end of the gateway');
    const timer = clock.after(TIMEOUT_MS, () => endEarly(`no end within ${TIMEOUT_MS / 1000} s`));
    signal.addEventListener('abort', onAbort);
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output.stdout += text;
      if (output.stdout.length > MAX_OUTPUT) endEarly(`more than ${MAX_OUTPUT} characters`);
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      output.stderr = (output.stderr + text).slice(0, MAX_OUTPUT);
    });
    child.on('error', (error) => end(`the error ${error.message}`));
    child.on('close', (code, by) => {
      if (by !== null) end(`its end by ${by}`);
      else end(code === 0 ? undefined : `exit code ${code}`);
    });
  });
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // All its processes have ended.
  }
}

function withoutOwn(env: NonNullable<TokenCommandOptions['env']>): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('HEADGATE_')));
}

/** The beginning of a text on one line, without the words that may be tokens. */
function withoutTokens(text: string, words: readonly string[]): string {
  let shown = text;
  for (const word of words) {
    if (word.length >= LEAST_HIDDEN) shown = shown.replaceAll(word, '***');
  }
  const line = shown.trim().replaceAll(/\s+/g, ' ');
  return line.length > MAX_SHOWN ? `${line.slice(0, MAX_SHOWN)}…` : line;
}
