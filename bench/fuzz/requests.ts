import type { Dice } from './dice.ts';
import { FORGED, HOP_ONLY, SECRET } from './marks.ts';

const CRLF = '\r\n';
/** A request that hides in another one's body or header. */
const HIDDEN = `GET /hidden HTTP/1.1${CRLF}Host: hidden.example${CRLF}${CRLF}`;

/**
 * What one caller writes into its connection; each character a byte. Half of them are requests that
 * HTTP allows, however odd, so that they get through to the API; the rest need not be.
 */
export function makeRequest(dice: Dice, elsewhere: string): string {
  const wild = dice.oneIn(2);
  if (wild && dice.oneIn(10)) return dice.noise(200);
  const { framing, body } = makeBody(dice, wild);
  const host = dice.pick(['a', 'localhost', 'api.example', elsewhere, 'a:80', '[::1]']);
  const lines = [
    ...(wild && dice.oneIn(8) ? [] : [`Host: ${host}`]),
    ...(dice.oneIn(8) ? [] : [`Authorization: token ${SECRET}-${dice.below(5000)}`]),
    ...dice.some(8, () => {
      const header =
        wild && dice.oneIn(5) ? badHeader(dice, elsewhere) : fineHeader(dice, elsewhere);
      return wild && dice.oneIn(12) ? dice.mutate(header) : header;
    }),
    // Only where nothing is mutated is it sure that the one names the other.
    ...(!wild && dice.oneIn(4) ? ['Connection: X-Named', `X-Named: ${HOP_ONLY}`] : []),
    ...framing,
    ...(dice.oneIn(20) ? [] : ['Connection: close']),
  ];
  const end = wild && dice.oneIn(15) ? '\n' : CRLF;
  const requestLine = makeRequestLine(dice, elsewhere, wild);
  const text = `${requestLine}${end}${lines.join(end)}${end}${end}${body}`;
  const whole = wild && dice.oneIn(6) ? dice.mutate(text) : text;
  return dice.oneIn(20) ? whole + HIDDEN.replace('/hidden', '/behind') : whole;
}

function makeRequestLine(dice: Dice, elsewhere: string, wild: boolean): string {
  if (!wild) {
    const method = dice.pick([
      ...(['GET', 'GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS', 'PURGE'] as const),
    ]);
    return `${method} ${fineTarget(dice, elsewhere)} HTTP/1.1`;
  }
  const method = dice.pick([
    ...(['GET', 'POST', 'TRACE', 'CONNECT', 'PRI', 'get', 'G E T', '', 'X\u00e9'] as const),
  ]);
  // A path that random spelt differently is another path, and nothing in it is secret, nor smuggled.
  const fine = fineTarget(dice, elsewhere).replaceAll(/hush-secret|X-Smuggled/g, 'plain');
  const target = dice.oneIn(3) ? badTarget(dice, elsewhere) : fine;
  const version = dice.oneIn(8)
    ? dice.pick(['HTTP/1.0', 'HTTP/2.0', 'HTTP/1.2', 'http/1.1', 'ICY', ''])
    : 'HTTP/1.1';
  return `${method} ${dice.oneIn(8) ? dice.mutate(target) : target} ${version}`;
}

/** Targets that stay at the API, whatever they look like. */
function fineTarget(dice: Dice, elsewhere: string): string {
  return dice.pick<string>([
    '/domains',
    `/tokens/${SECRET}`,
    `/TOKENS//${SECRET}/x`,
    `/a/..//tokens/${SECRET}?q=1`,
    `/%74okens%2f${SECRET}`,
    `//${elsewhere}/a`,
    `//${elsewhere}@a/`,
    '/../../etc/passwd',
    '/%2e%2e/%2e./..%2f../a',
    '/a/./b/%2E/../c//d',
    '/a%00b%0d%0aX-Smuggled:%201',
    '/a?b=http://evil.example/&c=%20',
    `/${'a'.repeat(dice.below(300))}`,
  ]);
}

function badTarget(dice: Dice, elsewhere: string): string {
  return dice.pick<string>([
    `/\\${elsewhere}`,
    `http://${elsewhere}/a`,
    `https://a@${elsewhere}/`,
    `HTTP://${elsewhere}`,
    elsewhere,
    '/a?b=\u00e9',
    '/a?c=%zz',
    '/a#b',
    '*',
    '',
    '/a b',
    '/a\tb',
    `/${'a'.repeat(dice.below(20_000))}`,
    `/${dice.noise(30)}`,
  ]);
}

function fineHeader(dice: Dice, elsewhere: string): string {
  return dice.pick<string>([
    'Accept: application/json',
    'Accept: */*;q="; version=3", a/b',
    'Accept-Encoding: gzip, br, dcb, *;q=0.5',
    `Connection: ${dice.pick(['X-Named', 'authorization, host', 'keep-alive, X-Named', ',, ,'])}`,
    `Keep-Alive: ${HOP_ONLY}`,
    `TE: ${HOP_ONLY}`,
    `Trailer: ${HOP_ONLY}`,
    `Upgrade: ${HOP_ONLY}`,
    `Proxy-Authorization: ${HOP_ONLY}`,
    `Proxy-Connection: ${HOP_ONLY}`,
    `HTTP2-Settings: ${HOP_ONLY}`,
    `X-Forwarded-For: ${HOP_ONLY}`,
    `X-Forwarded-Host: ${elsewhere}`,
    `X-Forwarded-Proto: ${dice.pick(['https', 'gopher', `${HOP_ONLY}\u00e9`])}`,
    `Forwarded: for=${HOP_ONLY}`,
    `${dice.pick(['X-Original-URL', 'X-Rewrite-URL', 'X-HTTP-Method-Override', 'X_Real_IP'])}: ${HOP_ONLY}`,
    `Baggage: userId=${HOP_ONLY}`,
    `Via: 1.1 ${HOP_ONLY}, 1.0 headgate-0123abcd (${HOP_ONLY})`,
    'Headgate-Caller: me',
    `Headgate-Priority: ${dice.pick(['high', 'low'])}`,
    'Headgate-Max-Wait: 1s',
    `Headgate-Key: ${HOP_ONLY}`,
    'Expect: 100-continue',
    `Cookie: a=${SECRET}`,
    `User-Agent: ${dice.pick(['curl/8', `{${FORGED}}`, '\u00e9', 'x'.repeat(3000)])}`,
    `X-Long: ${'a'.repeat(dice.below(5000))}`,
  ]);
}

function badHeader(dice: Dice, elsewhere: string): string {
  return dice.pick<string>([
    `Headgate-Caller: ${dice.pick([`${HOP_ONLY}"}\\n{${FORGED}}`, 'x'.repeat(100)])}`,
    `Headgate-Priority: ${HOP_ONLY}`,
    `Headgate-Max-Wait: ${dice.pick(['-1', '1e9', HOP_ONLY])}`,
    `Expect: ${dice.pick(['tea', ''])}`,
    `Host: ${elsewhere}`,
    `Authorization: token ${SECRET}-second`,
    'X-Odd: a\rb',
    'X-Odd: a\nX-Other: 1',
    'X-Odd: a\0b',
    'X-Odd : a',
    ' X-Folded: a',
    'X\u00e9: a',
    'no colon',
    `X-Long: ${'a'.repeat(dice.below(80_000))}`,
    `X-${dice.noise(5)}: ${dice.noise(40)}`,
  ]);
}

function makeBody(dice: Dice, wild: boolean): { framing: string[]; body: string } {
  const body = dice.pick<string>(['', 'a', HIDDEN, dice.noise(300), 'b'.repeat(dice.below(9000))]);
  const chunks = `${body.length.toString(16)}${CRLF}${body}${CRLF}`;
  const last = dice.pick([
    `0${CRLF}${CRLF}`,
    `0${CRLF}Authorization: ${HOP_ONLY}${CRLF}${CRLF}`,
    ...(wild ? [`0;a="${HIDDEN}"${CRLF}${CRLF}`, `00${CRLF}${CRLF}`, ''] : []),
  ]);
  switch (dice.below(wild ? 12 : 7)) {
    case 0:
    case 1:
    case 2:
      return { framing: [], body: '' };
    case 3:
    case 4:
      return { framing: [`Content-Length: ${body.length}`], body };
    case 5:
    case 6:
      return { framing: ['Transfer-Encoding: chunked'], body: body === '' ? last : chunks + last };
    case 7:
      return {
        framing: [`Content-Length: ${chunks.length}`, 'Transfer-Encoding: chunked'],
        body: chunks + last,
      };
    case 8:
      return {
        framing: [`Content-Length: ${body.length}`, `Content-Length: ${dice.below(10)}`],
        body,
      };
    case 9:
      return { framing: [`Content-Length: ${body.length + dice.below(3) - 1}`], body };
    case 10: {
      const length = dice.pick([
        '+1',
        '-1',
        '0x5',
        '1, 1',
        '1e1',
        ' ',
        '99999999999999999999',
        '1_0',
      ]);
      return { framing: [`Content-Length: ${length}`], body };
    }
    default: {
      const coding = dice.pick([
        ...(['chunked, chunked', 'gzip, chunked', 'chunked, gzip', 'xchunked', 'Chunked'] as const),
        ...([' chunked', 'chunked\u000b', '"chunked"', 'identity', ''] as const),
      ]);
      return { framing: [`Transfer-Encoding:${coding}`], body: dice.mutate(chunks + last) };
    }
  }
}
