import type { IncomingMessage, ServerResponse } from 'node:http';
import { describe, expect, test } from 'vitest';
import { setUpApi } from '../http/setup.ts';
import { ask, type Answer } from '../support/ask.ts';

const TOKEN = 'the-api-token-0123456789';
const OWN = 'token of-a-caller-of-its-own';

/** An API that opens a session for whoever is authenticated, in early hints and in the answer. */
function openSession(_incoming: IncomingMessage, outgoing: ServerResponse): void {
  outgoing.writeInformation?.(103, ['Link', '</a.css>; rel=preload', 'Set-Cookie', 'early=1']);
  outgoing.writeHead(200, ['Set-Cookie', 'session=of-the-token', 'X-Kept', 'yes']);
  outgoing.end('ok');
}

interface Seen {
  readonly answer: Answer;
  /** The Cookie field that reached the API. */
  readonly cookie: string | undefined;
}

async function askWithCookie(
  settings: Record<string, string>,
  headers: Record<string, string> = {},
): Promise<Seen> {
  const { api, gateway } = await setUpApi(openSession, settings);
  const answer = await ask(`${gateway.url}/a`, {
    headers: { cookie: 'session=forged', 'x-kept': 'yes', ...headers },
  });
  expect(answer.status).toBe(200);
  expect(answer.headers['x-kept']).toBe('yes');
  expect(answer.early).toHaveLength(1);
  expect(api.seen[0]?.headers['x-kept']).toBe('yes');
  return { answer, cookie: api.seen[0]?.headers.cookie };
}

describe('a session at the API', () => {
  test('does not pass a request that carries the configured token', async () => {
    const { answer, cookie } = await askWithCookie({ HEADGATE_TOKEN: TOKEN });
    expect(cookie).toBeUndefined();
    expect(answer.headers['set-cookie']).toBeUndefined();
    expect(answer.early[0]?.headers).toEqual({ link: '</a.css>; rel=preload' });
  });

  test.each([
    ['with HEADGATE_COOKIES=on', { HEADGATE_TOKEN: TOKEN, HEADGATE_COOKIES: 'on' }, {}],
    ['of a caller with its own credential', { HEADGATE_TOKEN: TOKEN }, { authorization: OWN }],
    ['where no token is configured', {}, {}],
  ])('passes %s', async (_what, settings, headers) => {
    const { answer, cookie } = await askWithCookie(settings, headers);
    expect(cookie).toBe('session=forged');
    expect(answer.headers['set-cookie']).toEqual(['session=of-the-token']);
    expect(answer.early[0]?.headers).toMatchObject({ 'set-cookie': ['early=1'] });
  });
});

test('TRACE is refused, because an answer to it would show the configured token', async () => {
  const { api, gateway } = await setUpApi(
    (incoming, outgoing) => outgoing.end(incoming.rawHeaders.join('\n')),
    { HEADGATE_TOKEN: TOKEN },
  );
  for (const headers of [{}, { authorization: OWN }]) {
    const refused = await ask(`${gateway.url}/a`, { method: 'TRACE', headers });
    expect(refused.status).toBe(501);
    expect(refused.headers['headgate-error']).toBe('method-not-supported');
    expect(refused.text).not.toContain(TOKEN);
  }
  expect(api.seen).toEqual([]);
  const lines = await gateway.log.wait('call', 2);
  expect(lines[0]).toMatchObject({ method: 'TRACE', path: '/a', status: 501 });
});
