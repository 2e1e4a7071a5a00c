import { CUT, HOP_ONLY, SECRET, STRAY, TOKEN } from './marks.ts';
import { readMessage, show, type Message } from './messages.ts';

const REQUEST_LINE = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+ (\/[\x21\x22\x24-\x7e]*) HTTP\/1\.1$/;
const NOT_FOR_THE_API =
  /^(?:x-forwarded-.*|forwarded|headgate-.*|keep-alive|te|trailer|upgrade|proxy-(?:authorization|connection)|http2-settings|expect|x-smuggled|x-http-method(?:-override)?|x-method-override|x-(?:original|rewrite)-url|baggage|[^_]*_.*)$/;
/** What must not be in a path: dot segments, also encoded ones, backslashes, and `%` alone. */
const NOT_NORMAL = /\/(?:\.|%2e){1,2}(?:\/|$)|\\|%(?![0-9a-f]{2})/i;

/** What is wrong with a request that reached the API; nothing, when all is well. */
export function wrongAtApi({ startLine, headers }: Message, host: string): string[] {
  const problems: string[] = [];
  const [, target] = REQUEST_LINE.exec(startLine) ?? [];
  if (target === undefined) problems.push(`a request line ${show(startLine)}`);
  else if (NOT_NORMAL.test(target.split('?', 1)[0] ?? '')) {
    problems.push(`a path that is not normal: ${show(target)}`);
  }
  const count = (wanted: string): number => headers.filter(([name]) => name === wanted).length;
  if (count('host') !== 1) problems.push(`${count('host')} Hosts`);
  for (const name of ['authorization', 'accept', 'content-length', 'transfer-encoding', 'via']) {
    if (count(name) > 1) problems.push(`${name} ${count(name)} times`);
  }
  for (const [name, value] of headers) {
    if (name === 'host' && value !== host) problems.push(`another Host: ${show(value)}`);
    if (NOT_FOR_THE_API.test(name)) problems.push(`${name}: ${show(value)}`);
    if (value.includes(HOP_ONLY) && !isCallersOwn(name)) problems.push(`${name}: ${show(value)}`);
  }
  return problems;
}

/** Fields with names that random made pass with whatever was put next to them. */
function isCallersOwn(name: string): boolean {
  return !/^(?:x-named|connection|via)$/.test(name);
}

/** What is wrong with the bytes that a caller was sent; the first answer may be one to a HEAD. */
export function wrongAtCaller(received: string, toHead: boolean): string[] {
  const problems: string[] = [];
  if (received.includes(STRAY)) problems.push('an answer that was not asked for');
  if (received.includes(TOKEN)) problems.push('the token');
  if (received.includes(SECRET)) problems.push('a credential');
  let rest = received;
  let first = toHead;
  while (rest !== '') {
    const read = readMessage(rest, (line) => first || isBodiless(line));
    if (read.kind === 'unfinished') {
      if (!isStatusLine(read.head.split('\r\n', 1)[0] ?? '')) {
        problems.push(`bytes that begin no answer: ${show(rest)}`);
      }
      break;
    }
    if (read.kind === 'wrong') {
      problems.push(`${read.why} in an answer`);
      break;
    }
    const { startLine, body } = read.message;
    if (!isStatusLine(startLine)) {
      problems.push(`a status line ${show(startLine)}`);
      break;
    }
    if (body.startsWith(CUT)) problems.push('a broken answer that looks whole');
    if (!startLine.startsWith('HTTP/1.1 1')) first = false;
    rest = read.rest;
  }
  return problems;
}

function isStatusLine(line: string): boolean {
  return /^HTTP\/1\.1 [1-9]\d\d /.test(`${line} `);
}

function isBodiless(startLine: string): boolean {
  return /^HTTP\/1\.1 (?:1\d\d|204|304)/.test(startLine);
}
