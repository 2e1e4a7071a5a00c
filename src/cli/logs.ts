import { stat } from 'node:fs/promises';
import type { Clock } from '../util/clock.ts';
import { makeFilter } from '../logs/filter.ts';
import { followFile } from '../logs/follow-file.ts';
import { makeInspector, type Inspector } from '../logs/log-reader.ts';
import { readLogsOptions, type LogsOptions } from '../logs/options.ts';
import { makeOutput } from '../logs/output.ts';
import { coloured, plain } from '../logs/paint.ts';
import { makePrinter } from '../logs/printer.ts';
import { makeProgress, type Progress } from '../logs/progress.ts';
import { bytesOf, readFileChunks } from '../logs/read-file.ts';
import { systemClock } from '../util/system-clock.ts';
import type { Command, ExitCode, Invocation } from './command.ts';

/** Reads, filters and adds up call lines: from files, or from a pipe. */
export const logsCommand: Command = {
  name: 'logs',
  summary: 'read call lines from files or a pipe: filter, show, add up',
  operands: '[FILE…]',
  options: [
    { name: 'caller', value: 'NAMES', summary: 'only of these callers; * for any characters' },
    { name: 'path', value: 'PATHS', summary: 'only of these paths; * for any characters' },
    { name: 'status', value: 'CODES', summary: 'only with these statuses: 429, 5xx' },
    { name: 'outcome', value: 'NAMES', summary: 'only answered, shed, failed or aborted' },
    { name: 'bucket', value: 'IDS', summary: 'only of these buckets; * for any characters' },
    { name: 'min-wait', value: 'DURATION', summary: 'only what waited at least this long' },
    { name: 'since', value: 'TIME', summary: 'only from 15m ago, or 2026-11-24T06:00Z, on' },
    { name: 'id', value: 'IDS', summary: 'only these requests' },
    { name: 'follow', summary: 'go on as files grow, through rotation' },
    { name: 'json', summary: 'print lines as they are; with --summary, one object' },
    { name: 'summary', summary: 'add up by caller, path and minute' },
    { name: 'top', value: 'N', summary: 'how many of each kind a summary names (10)' },
  ],
  run: (invocation) => logs(invocation, systemClock),
};

async function logs(invocation: Invocation, clock: Clock): Promise<ExitCode> {
  const { options, operands, stdin, stderr, output: stdout, env } = invocation;
  const read = readLogsOptions(options, clock.wallMs());
  if (read.kind === 'wrong') {
    stderr(`headgate: ${read.reason}\n`);
    return 2;
  }
  if (operands.length === 0 && stdin().isTTY === true) {
    stderr('headgate: expected a FILE or a pipe to read from, got a terminal\n');
    return 2;
  }
  const { filter, mode, follow, top } = read.options;
  const toTerminal = stdout.isTTY === true;
  const paint = toTerminal && (env['NO_COLOR'] ?? '') === '' ? coloured : plain;
  const printer = makePrinter({ mode, top, paint, named: toTerminal });
  const output = makeOutput(stdout);
  const inspector = makeInspector({ filter: makeFilter(filter), printer, output });

  await output.write(printer.head);
  let code: ExitCode = 0;
  if (operands.length === 0) {
    await inspector.read(bytes(stdin()));
  } else if (follow) {
    const from = filter.sinceMs === undefined ? 'last' : 'start';
    const following = operands.map((path) =>
      attempt(path, followFile({ path, clock, signal: output.closed, from })),
    );
    if ((await Promise.all(following)).includes('failed')) code = 1;
  } else {
    const progress = await progressOver(operands, mode, invocation, clock);
    for (const path of operands) {
      const chunks = readFileChunks(path, (read) => progress?.advance(read));
      if ((await attempt(path, chunks, progress)) === 'failed') code = 1;
    }
    progress?.clear();
  }
  await output.write(printer.end(inspector.reading));
  const { broken } = inspector.reading;
  if (broken > 0 && (mode === 'view' || mode === 'json')) {
    stderr(`headgate: ${broken} broken ${broken === 1 ? 'line' : 'lines'} skipped\n`);
  }
  return code;

  /** A file that cannot be read is told, and the others are read all the same. */
  async function attempt(
    path: string,
    chunks: Parameters<Inspector['read']>[0],
    progress?: Progress,
  ): Promise<'read' | 'failed'> {
    try {
      await inspector.read(chunks);
      return 'read';
    } catch (error) {
      progress?.clear();
      const why = error instanceof Error ? error.message : String(error);
      stderr(`headgate: ${path}: expected a readable file, got: ${why}\n`);
      return 'failed';
    }
  }
}

async function* bytes(stdin: AsyncIterable<unknown>): AsyncGenerator<Buffer> {
  for await (const chunk of stdin) yield bytesOf(chunk);
}

/** A bar where somebody watches, and nothing else is printed meanwhile. */
async function progressOver(
  paths: readonly string[],
  mode: LogsOptions['mode'],
  { stderr, output, errorsToTerminal }: Invocation,
  clock: Clock,
): Promise<Progress | undefined> {
  const printing = mode === 'view' || mode === 'json';
  if (!errorsToTerminal || (printing && output.isTTY === true)) return undefined;
  const sizes = await Promise.all(
    // What cannot be read is told when its turn comes.
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
