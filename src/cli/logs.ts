import { stat } from 'node:fs/promises';
import type { Clock } from '../util/clock.ts';
import { makeFilter } from '../logs/filter.ts';
import { followFile } from '../logs/follow-file.ts';
import { OUTCOMES } from '../logs/log-line.ts';
import { makeLogReader, type Source } from '../logs/log-reader.ts';
import { readLogsOptions, type LogsOptions } from '../logs/options.ts';
import { makeOutput } from '../logs/output.ts';
import { makePrinter } from '../logs/printer.ts';
import { makeProgress, type Progress } from '../logs/progress.ts';
import { bytesOf, readFileChunks } from '../logs/read-file.ts';
import { coloured, plain, printable } from '../logs/terminal-text.ts';
import { systemClock } from '../util/system-clock.ts';
import { messageOf } from '../util/message-of.ts';
import type { Command, ExitCode, Invocation } from './command.ts';

/** Filters call lines from files or a pipe, and prints them or their sums. */
export const logsCommand: Command = {
  name: 'logs',
  summary: 'filter call lines of files or a pipe, print them or sum them up',
  operands: '[FILE…]',
  options: [
    { name: 'caller', value: 'NAMES', summary: 'only these callers; * for any characters' },
    { name: 'path', value: 'PATHS', summary: 'only these paths; * for any characters' },
    { name: 'status', value: 'CODES', summary: 'only these statuses: 429, 5xx' },
    {
      name: 'outcome',
      value: 'NAMES',
      values: OUTCOMES,
      summary: `only these outcomes: ${OUTCOMES.join(', ')}`,
    },
    { name: 'bucket', value: 'IDS', summary: 'only these buckets; * for any characters' },
    { name: 'api', value: 'NAMES', summary: 'only these of several APIs; * for any characters' },
    { name: 'min-wait', value: 'DURATION', summary: 'only calls that waited at least this long' },
    {
      name: 'since',
      value: 'TIME',
      summary: 'only lines since 15m ago, or since 2026-11-24T06:00Z',
    },
    {
      name: 'id',
      value: 'IDS',
      summary: 'all lines of these requests, with why an attempt failed',
    },
    {
      name: 'message',
      value: 'NAMES',
      summary: 'only lines with these messages: ledger, call; * for any characters',
    },
    { name: 'follow', summary: 'continue as files grow, also after rotation' },
    { name: 'json', summary: 'print lines as they are; with --summary, one JSON object' },
    { name: 'summary', summary: 'print sums by caller, path and minute' },
    { name: 'top', value: 'N', summary: 'how many of each kind a summary lists (10)' },
  ],
  run: (invocation) => logs(invocation, systemClock),
};

async function logs(invocation: Invocation, clock: Clock): Promise<ExitCode> {
  const { options, operands, stdin, stderr, stdoutStream, env } = invocation;
  const read = readLogsOptions(options, clock.wallMs());
  if (read.kind === 'wrong') {
    stderr(`headgate: ${printable(read.reason)}\n`);
    return 2;
  }
  const packed = read.options.follow ? operands.find((path) => path.endsWith('.gz')) : undefined;
  if (packed !== undefined) {
    const got = `got ${packed}, which is compressed`;
    stderr(`headgate: --follow: expected files that can grow, ${printable(got)}\n`);
    return 2;
  }
  if (operands.length === 0 && stdin().isTTY === true) {
    stderr('headgate: expected a FILE or a pipe to read from, got a terminal\n');
    return 2;
  }
  const { filter, mode, follow, top } = read.options;
  const toTerminal = stdoutStream.isTTY === true;
  const paint = toTerminal && (env['NO_COLOR'] ?? '') === '' ? coloured : plain;
  const printer = makePrinter({ mode, top, paint, toTerminal });
  const output = makeOutput(stdoutStream);
  const reader = makeLogReader({ filter: makeFilter(filter), printer, output });

  let code: ExitCode = 0;
  if (operands.length === 0) {
    await reader.read(bytes(stdin()));
  } else if (follow) {
    const from = filter.sinceMs === undefined ? 'last' : 'start';
    const following = operands.map((path) =>
      tryToRead(path, followFile({ path, clock, signal: output.closed, from })),
    );
    if ((await Promise.all(following)).includes('failed')) code = 1;
  } else {
    const progress = await progressOver(operands, mode, invocation, clock);
    const sources = new Map<Source, string>(
      operands.map((path) => [readFileChunks(path, (read) => progress?.advance(read)), path]),
    );
    if (sources.size > 1 && (mode === 'view' || mode === 'json')) {
      await reader.readMerged([...sources.keys()], (source, error) => {
        progress?.clear();
        complain(sources.get(source) ?? '', error);
        code = 1;
      });
    } else {
      // A sum does not depend on the order.
      for (const [chunks, path] of sources) {
        if ((await tryToRead(path, chunks, progress)) === 'failed') code = 1;
      }
    }
    progress?.clear();
  }
  await output.write(printer.end(reader.counts));
  const { lines, broken } = reader.counts;
  if (mode === 'view' || mode === 'json') {
    if (broken > 0) stderr(`headgate: ${broken} broken ${lineWord(broken)} skipped\n`);
    if (reader.matched === 0) stderr(`headgate: nothing matched in ${lines} ${lineWord(lines)}\n`);
  }
  return code;

  /** Reads a file. If that fails, prints the reason, so that the other files are still read. */
  async function tryToRead(
    path: string,
    chunks: Source,
    progress?: Progress,
  ): Promise<'read' | 'failed'> {
    try {
      await reader.read(chunks);
      return 'read';
    } catch (error) {
      progress?.clear();
      complain(path, error);
      return 'failed';
    }
  }

  function complain(path: string, error: unknown): void {
    const reason = messageOf(error);
    stderr(`headgate: ${printable(`${path}: expected a readable file, got: ${reason}`)}\n`);
  }
}

function lineWord(count: number): string {
  return count === 1 ? 'line' : 'lines';
}

async function* bytes(stdin: AsyncIterable<unknown>): AsyncGenerator<Buffer> {
  for await (const chunk of stdin) yield bytesOf(chunk);
}

/** A progress bar, if stderr is a terminal and no lines are printed to a terminal as well. */
async function progressOver(
  paths: readonly string[],
  mode: LogsOptions['mode'],
  { stderr, stdoutStream, stderrIsTerminal }: Invocation,
  clock: Clock,
): Promise<Progress | undefined> {
  const printing = mode === 'view' || mode === 'json';
  if (!stderrIsTerminal || (printing && stdoutStream.isTTY === true)) return undefined;
  const sizes = await Promise.all(
    // A file that cannot be read is reported later, when it is its turn.
    paths.map((path) =>
      stat(path).then(
        ({ size }) => size,
        () => 0,
      ),
    ),
  );
  const totalBytes = sizes.reduce((sum, size) => sum + size, 0);
  return makeProgress({ totalBytes, clock, write: stderr });
}
