import type { Dice } from './dice.ts';
import { CUT, FORGED, HOP_ONLY, STRAY } from './marks.ts';

/** What the API writes, each character a byte, and whether it closes the connection after it. */
export interface Reply {
  readonly bytes: string;
  readonly closes: boolean;
}

const CRLF = '\r\n';

/** An answer to one request; to HEAD it has no body. */
export function makeReply(dice: Dice, method: string, elsewhere: string): Reply {
  if (dice.oneIn(4)) return makeBroken(dice, elsewhere);
  const headers = dice.some(6, () => makeHeader(dice, elsewhere));
  const status = dice.pick([
    ...(['200 OK', '200 OK', '200', '201 Created', '207 Multi-Status', '302 Found'] as const),
    ...(['400 Bad', '404 \u00e9', '429 Too Many', '500 Oops', '503 Busy', '599 Odd'] as const),
  ]);
  const early = dice.oneIn(20)
    ? `HTTP/1.1 ${dice.pick(['102 P', '103 E', '103 E', '199 X'])}${CRLF}Link: </a>${CRLF}${CRLF}`
    : '';
  if (dice.oneIn(10)) {
    return good(early + head(dice.pick(['204 No Content', '304 Not Modified']), headers));
  }
  const body = makeBody(dice, elsewhere);
  const hasBody = method !== 'HEAD';
  if (dice.oneIn(3)) {
    const chunked = `${body.length.toString(16)}${CRLF}${body}${CRLF}0${CRLF}`;
    const trailer = dice.oneIn(3) ? `X-Sum: a${CRLF}Content-Length: 3${CRLF}${CRLF}` : CRLF;
    const bytes = body === '' ? `0${CRLF}${CRLF}` : chunked + trailer;
    return good(
      early + head(status, [...headers, 'Transfer-Encoding: chunked']) + (hasBody ? bytes : ''),
    );
  }
  const framed = head(status, [...headers, `Content-Length: ${body.length}`]);
  return good(early + framed + (hasBody ? body : ''));
}

function good(bytes: string): Reply {
  return { bytes, closes: false };
}

function head(status: string, headers: readonly string[]): string {
  return `HTTP/1.1 ${[status, ...headers].join(CRLF)}${CRLF}${CRLF}`;
}

function makeBody(dice: Dice, elsewhere: string): string {
  return dice.pick<string>([
    '',
    'ok',
    dice.noise(500),
    'b'.repeat(dice.below(20_000)),
    `{"links":{"previous":null,"next":"http://api.example/a?page=2"},"results":[]}`,
    dice.mutate(`{"links":{"next":"http:\\/\\/api.example\\/a","previous":"//${elsewhere}"}}`),
    `{"links":${'{"links":'.repeat(dice.below(200))}`,
  ]);
}

function makeHeader(dice: Dice, elsewhere: string): string {
  const number = (): string =>
    dice.pick(['0', '1', '80', '-1', '1e3', '99999999999', 'NaN', '', '0x1', `{${FORGED}}`]);
  const header = dice.pick<string>([
    'Content-Type: application/json',
    'Content-Type: application/json; charset=utf-8',
    `Content-Encoding: ${dice.pick(['gzip', 'br', 'identity', 'own', 'gzip, br'])}`,
    `X-RateLimit-Limit: ${number()}`,
    `X-RateLimit-Remaining: ${number()}`,
    `X-RateLimit-Reset: ${dice.pick([number(), '2018-06-06T02:21:04.340405', '9999-99-99', '6m0s'])}`,
    `RateLimit: ${dice.pick(['"a";r=1;t=2', '"a";r', ';;', dice.noise(20)])}`,
    `RateLimit-Policy: ${dice.pick(['"a";q=1;w=60', '"', dice.noise(20)])}`,
    `Retry-After: ${dice.pick(['1', '0.5', '-3', 'Wed, 21 Oct 2099 07:28:00 GMT', dice.noise(8)])}`,
    `Date: ${dice.pick(['Wed, 21 Oct 2015 07:28:00 GMT', 'now', dice.noise(20)])}`,
    `Age: ${number()}`,
    `ETag: ${dice.pick(['"a"', 'W/"a"', dice.noise(5)])}`,
    `Location: ${dice.pick(['http://api.example/a', '//api.example', `http://${elsewhere}`, '\u00e9', '/%'])}`,
    `Link: ${dice.pick(['<http://api.example/a>; rel=next', '<<<', '<>;', dice.noise(30)])}`,
    `Connection: ${dice.pick(['X-Named', 'close', 'keep-alive, Set-Cookie'])}`,
    `X-Named: ${HOP_ONLY}`,
    `Keep-Alive: timeout=${number()}`,
    `Proxy-Authenticate: ${HOP_ONLY}`,
    `Upgrade: ${HOP_ONLY}`,
    'Set-Cookie: a=1',
    'set-cookie: b=2',
    'Server-Timing: a;dur=1',
    'Headgate-Error: loop',
    'Trailer: X-Sum',
    `X-Odd: caf\u00e9`,
    `X-Long: ${'a'.repeat(dice.below(9000))}`,
  ]);
  return dice.oneIn(12) ? dice.mutate(header) : header;
}

/** What no caller must take for a whole answer, or for an answer to its own request. */
function makeBroken(dice: Dice, elsewhere: string): Reply {
  const headers = dice.some(3, () => makeHeader(dice, elsewhere));
  const body = `${CUT} ${'b'.repeat(dice.below(3000))}`;
  const stray = head('200 OK', [`X-Stray: ${STRAY}`, `Content-Length: ${STRAY.length}`]) + STRAY;
  const bytes = dice.pick<string>([
    head('200 OK', [...headers, `Content-Length: ${body.length + 1 + dice.below(99)}`]) + body,
    `${head('200 OK', [...headers, 'Transfer-Encoding: chunked'])}${body.length.toString(16)}${CRLF}${body}${CRLF}`,
    head('200 OK', ['Transfer-Encoding: chunked']) + dice.mutate(`5${CRLF}${CUT}${CRLF}`),
    head('200 OK', ['Content-Length: 4', 'Transfer-Encoding: chunked']) + CUT,
    head('200 OK', ['Content-Length: 99', 'Content-Length: 98']) + CUT,
    head('200 OK', ['Content-Length: 2']) + `ok${stray}`,
    head('204 No Content', ['Content-Length: 5']) + stray,
    stray.replaceAll(STRAY, 'whole-answer') + stray,
    head(dice.pick(['101 Switching', '100 Continue', '099 Low', '999 High', 'OK']), headers),
    `${head('103 Early', ['Link: </a>']).repeat(50)}${head('200 OK', ['Content-Length: 2'])}ok`,
    head('200 OK', [`X-Huge: ${'a'.repeat(70_000)}`, `Content-Length: 2`]) + 'ok',
    head('200 OK', ['X-Odd: a\0b', 'X-Odd : c', ' folded', 'Content-Length: 2']) + 'ok',
    'HTTP/1.1 200 OK\nContent-Length: 2\n\nok',
    dice.mutate(head('200 OK', ['Content-Length: 2']) + 'ok'),
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    dice.noise(300),
    '',
  ]);
  return { bytes, closes: true };
}
