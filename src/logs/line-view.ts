import { WAITED_MS, type LoggedCall, type LoggedEvent, type LoggedLine } from './log-line.ts';
import { printable, readableDuration, type Colour, type Paint } from './terminal-text.ts';

/** A longer wait is coloured. */
const LONG_WAIT_MS = 1000;

/** The names of the columns of {@link formatLine}. */
export function columns(hasApis: boolean): string {
  return row([
    'time (UTC)'.padEnd(24),
    'status',
    'wait'.padStart(8),
    'upstream'.padStart(8),
    'budget'.padStart(9),
    ...(hasApis ? ['API'.padEnd(API_WIDTH)] : []),
    'caller'.padEnd(16),
    'request',
  ]);
}

const API_WIDTH = 10;

/**
 * Formats a call, a 429 of the API, or another message, as a line for people. `hasApis`: with a column
 * for the API's name.
 */
export function formatLine(line: LoggedLine, paint: Paint, hasApis = false): string {
  const time = paint('dim', new Date(line.atMs).toISOString().replace('T', ' '));
  const api = hasApis ? [printable(line.api).padEnd(API_WIDTH)] : [];
  const who = [...api, printable(line.caller).padEnd(16)];
  if (line.kind === 'event') return formatEvent(line, time, who, paint);
  if (line.kind === 'throttled') {
    const after =
      line.retryAfterMs === undefined ? '' : `, Retry-After ${readableDuration(line.retryAfterMs)}`;
    const throttle = `the API throttled attempt ${line.attempt} (${printable(line.scope)}${after})`;
    return row([
      time,
      paint('magenta', '429'.padEnd(6)),
      ' '.repeat(8),
      ' '.repeat(8),
      ' '.repeat(9),
      ...who,
      paint('magenta', throttle),
      paint('dim', printable(line.id)),
    ]);
  }
  const wait = readableDuration(line.waitMs).padStart(8);
  return row([
    time,
    paint(colourOf(line), String(line.status === 0 ? '–' : line.status).padEnd(6)),
    line.waitMs >= LONG_WAIT_MS ? paint('yellow', wait) : wait,
    readableDuration(line.upstreamMs).padStart(8),
    paint('cyan', budget(line).padStart(9)),
    ...who,
    printable(`${line.method.padEnd(6)} ${line.path}${line.query === '' ? '' : `?${line.query}`}`),
    ...remarks(line, paint),
    paint('dim', printable(line.id)),
  ]);
}

/** The details of a message are cut off after this many characters. */
const MOST_DETAILS = 600;

function formatEvent(
  event: LoggedEvent,
  time: string,
  who: readonly string[],
  paint: Paint,
): string {
  const { level, msg, id, details } = event;
  const colour =
    level === 'warn' ? 'yellow' : level === 'info' || level === 'debug' ? 'dim' : 'red';
  const words = Object.entries(details).map(([name, value]) => `${name}=${detail(value)}`);
  return row([
    time,
    paint(colour, printable(level).padEnd(6)),
    ' '.repeat(8),
    ' '.repeat(8),
    ' '.repeat(9),
    ...who,
    paint(colour, printable(msg)),
    ...(words.length === 0 ? [] : [printable(words.join(' ').slice(0, MOST_DETAILS))]),
    ...(id === '' ? [] : [paint('dim', printable(id))]),
  ]);
}

/** A value as a word: of an error its message, without the stack. */
function detail(value: unknown): string {
  const isError = typeof value === 'object' && value !== null && 'message' in value;
  const shown = isError ? value.message : value;
  return typeof shown === 'string' && /^[\w.:/@*-]+$/.test(shown) ? shown : JSON.stringify(shown);
}

function row(cells: readonly string[]): string {
  return cells.join('  ');
}

function budget({ remaining, limit }: LoggedCall): string {
  return limit === undefined ? '' : `${remaining ?? '?'}/${limit}`;
}

/**
 * What the status does not show: an outcome other than `answered`, further attempts, a cost, and what
 * would have been without observe mode.
 */
function remarks(call: LoggedCall, paint: Paint): string[] {
  const { outcome, code, attempts, cost, wouldWaitMs = 0, wouldShed } = call;
  const words: string[] = [];
  if (outcome !== 'answered') {
    words.push(code === undefined ? outcome : `${outcome}: ${printable(code)}`);
  }
  if (attempts > 1) words.push(`${attempts} attempts`);
  if (cost !== undefined) words.push(`cost ${cost}`);
  if (wouldWaitMs >= WAITED_MS) words.push(`would wait ${readableDuration(wouldWaitMs)}`);
  if (wouldShed !== undefined) words.push(`would be shed: ${printable(wouldShed)}`);
  return words.length === 0
    ? []
    : [paint(outcome === 'failed' ? 'red' : 'yellow', words.join(', '))];
}

function colourOf({ status, outcome }: LoggedCall): Colour {
  if (outcome === 'failed' || status >= 500) return 'red';
  if (outcome !== 'answered' || status >= 400) return 'yellow';
  return 'green';
}
