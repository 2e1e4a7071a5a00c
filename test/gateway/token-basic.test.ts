import type { IncomingMessage, ServerResponse } from 'node:http';
import { describe, expect, onTestFinished, test } from 'vitest';
import { startApi, type Api } from '../support/api.ts';
import { ask } from '../support/ask.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { loadSettings, startGateway } from '../support/gateway.ts';
import { until } from '../support/setup.ts';

const LOGIN = 'ops@example.com:a:password';
const settings = { HEADGATE_TOKEN_BASIC: LOGIN };

/** An API that issues a new token for each login, valid for a day, and answers with the credential. */
async function startIssuer(
  answer = (_outgoing: ServerResponse): boolean => false,
): Promise<Api & { readonly issued: string[] }> {
  const issued: string[] = [];
  const api = await startApi((incoming: IncomingMessage, outgoing) => {
    if (incoming.method !== 'POST' || incoming.url !== '/tokens') {
      outgoing.end(incoming.headers.authorization);
      return;
    }
    if (answer(outgoing)) return;
    issued.push(`issued-secret-${issued.length + 1}`);
    outgoing.statusCode = 201;
    outgoing.end(
      JSON.stringify({
        token: issued.at(-1),
        created_at: '2019-04-01 13:53:28.536782+00:00',
        expires_at: '2019-04-02 13:53:28.536782+00:00',
      }),
    );
  });
  onTestFinished(() => api.close());
  return Object.assign(api, { issued });
}

describe('HEADGATE_TOKEN_BASIC', () => {
  test('fetches the token, and a new one after 80 % of its validity', async () => {
    const api = await startIssuer();
    const clock = new FakeClock();
    const gateway = await startGateway({ upstream: api.url, settings, clock });
    onTestFinished(() => gateway.stop());
    expect(api.seen).toMatchObject([
      {
        method: 'POST',
        headers: {
          authorization: `Basic ${Buffer.from(LOGIN).toString('base64')}`,
          accept: 'application/json; version=3',
        },
      },
    ]);
    const sent = async (headers = {}): Promise<string> =>
      (await ask(`${gateway.url}/domains`, { headers })).text;
    expect(await sent()).toBe('token issued-secret-1');
    expect(await sent({ authorization: 'token own' })).toBe('token own');
    expect(await gateway.log.first('call')).toMatchObject({ bucket: 'own:read' });

    clock.advance(0.8 * 86_400_000 - 1);
    expect(api.issued).toHaveLength(1);
    clock.advance(1);
    await until('another token is in use', () => gateway.log.count('token renewed') === 1);
    expect(await sent()).toBe('token issued-secret-2');
    expect(gateway.log.text).not.toMatch(/issued-secret|a:password/);
  });

  test.each<[string, (outgoing: ServerResponse) => void, string]>([
    ['refuses it', (outgoing) => outgoing.writeHead(401).end(), 'with a token, got 401'],
    ['breaks off', (outgoing) => outgoing.destroy(), 'expected an answer of the API, got none'],
    ['answers without a token', (outgoing) => outgoing.end('{"a":1}'), 'got 7 characters'],
    ['answers with a bad token', (o) => o.end('{"token":"an issued secret"}'), 'expected JSON'],
    ['answers with a list', (outgoing) => outgoing.end('null'), 'got 4 characters'],
    [
      'answers with too much',
      (outgoing) => outgoing.end('x'.repeat(100_000)),
      'expected a complete answer',
    ],
  ])('is a problem with exit code 2 if the API %s', async (_name, answer, expected) => {
    const api = await startIssuer((outgoing) => {
      answer(outgoing);
      return true;
    });
    const failed: unknown = await startGateway({ upstream: api.url, settings }).catch(
      (error: unknown) => error,
    );
    expect(failed).toMatchObject({ name: 'SettingProblem' });
    expect(String(failed)).toContain(`HEADGATE_TOKEN_BASIC: `);
    expect(String(failed)).toContain(expected);
    expect(String(failed)).not.toMatch(/password|issued secret/);
  });

  test.each([
    [{ ...settings, HEADGATE_PRESET: 'github' }, 'expected a preset that knows where tokens'],
    [{ HEADGATE_TOKEN_BASIC: 'no-colon-hidden' }, 'expected user:password, got a value of 15'],
    [{ ...settings, HEADGATE_TOKEN: 'a' }, 'expected it without HEADGATE_TOKEN, got both'],
    [
      { ...settings, HEADGATE_TOKEN_COMMAND: 'a' },
      'HEADGATE_TOKEN_BASIC: expected it without HEADGATE_TOKEN_COMMAND, got both',
    ],
    [{ HEADGATE_TOKEN_BASIC_FILE: 'login' }, 'expected a file with user:password, got 15'],
    [{ HEADGATE_TOKEN_BASIC_FILE: 'missing' }, 'expected a readable file, got'],
    [
      { ...settings, HEADGATE_LISTEN: '0.0.0.0:8080' },
      'HEADGATE_TOKEN_BASIC: expected HEADGATE_CALLER_KEYS or HEADGATE_OPEN=true as well',
    ],
  ])('%j is refused: %s', (env, expected) => {
    const loaded = loadSettings(env, { login: 'no-colon-hidden' });
    expect(loaded).toMatchObject({ kind: 'bad', problems: [expect.stringContaining(expected)] });
    expect(JSON.stringify(loaded)).not.toContain('no-colon');
  });

  test('may be in a file, and belong to one of several APIs', () => {
    const files = {
      'headgate.yaml': 'apis: {azion: {preset: azion, tokenBasicFile: login}}',
      login: `${LOGIN}\n`,
    };
    const loaded = loadSettings({}, files);
    expect(loaded.kind === 'ok' && loaded.config.apis[0]?.token).toEqual({
      kind: 'basic',
      login: LOGIN,
      path: '/tokens',
    });
    expect(loaded.kind === 'ok' && JSON.stringify(loaded.effective)).not.toContain('password');
  });
});
