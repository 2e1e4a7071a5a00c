import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { startAzion, type Azion } from '../support/azion.ts';
import { ask } from '../support/ask.ts';
import type { LogLine } from '../support/captured-log.ts';
import { loadSettings, startGateway, type TestGateway } from '../support/gateway.ts';

const BILLING = 'billing-key-0123456789';
const BILLING_NEW = 'billing-key-new-987654';
const WEB = 'web-key=with=signs+/==';
const TOKEN = 'the-api-token-0123456789';

let api: Azion;
let gateway: TestGateway | undefined;

beforeEach(async () => {
  api = await startAzion();
});

afterEach(async () => {
  await gateway?.stop();
  gateway = undefined;
  await api.close();
});

async function start(
  settings: Record<string, string>,
  files: Record<string, string> = {},
): Promise<TestGateway> {
  gateway = await startGateway({ upstream: api.url, settings, files });
  return gateway;
}

/** The fields of the log's call lines. */
function calls({ log }: TestGateway): LogLine[] {
  return log.named('call');
}

describe('caller keys', () => {
  test('decide the name of a caller, whatever name it sends', async () => {
    const running = await start({
      HEADGATE_TOKEN: TOKEN,
      HEADGATE_CALLER_KEYS: `billing=${BILLING}, web=${WEB}`,
    });
    const asWeb = { 'headgate-key': WEB, 'headgate-caller': 'billing' };
    expect((await ask(`${running.url}/domains`, { headers: asWeb })).status).toBe(200);
    expect(
      (await ask(`${running.url}/domains`, { headers: { 'headgate-key': BILLING } })).status,
    ).toBe(200);
    expect(calls(running).map(({ caller }) => caller)).toEqual(['web', 'billing']);
  });

  test.each([
    ['no key', {}],
    ['an unknown key', { 'headgate-key': `${BILLING}x` }],
    ['a part of a key', { 'headgate-key': BILLING.slice(0, -1) }],
    ['two keys', { 'headgate-key': [BILLING, BILLING] }],
    ['the name of a caller', { 'headgate-key': 'billing' }],
  ])('refuse a caller with %s, and the API receives nothing', async (_, headers) => {
    const running = await start({
      HEADGATE_TOKEN: TOKEN,
      HEADGATE_CALLER_KEYS: `billing=${BILLING}`,
    });
    const refused = await ask(`${running.url}/domains`, { headers });
    expect(refused.status).toBe(401);
    expect(refused.headers['headgate-error']).toBe('unknown-caller');
    expect(refused.headers['www-authenticate']).toBe('Headgate-Key');
    expect(JSON.parse(refused.text)).toMatchObject({ code: 'unknown-caller', status: 401 });
    expect(api.seen).toHaveLength(0);
    expect(calls(running)).toMatchObject([
      { caller: '127.0.0.1', code: 'unknown-caller', status: 401 },
    ]);
  });

  test('can be in a file, where a name may have two keys during a change of keys', async () => {
    const keys = `billing:\n  - ${BILLING}\n  - ${BILLING_NEW}\n12: "1234567890123456"\n`;
    const running = await start({ HEADGATE_CALLER_KEYS_FILE: 'keys.yaml' }, { 'keys.yaml': keys });
    const authorization = `token ${TOKEN}`;
    for (const key of [BILLING, BILLING_NEW, '1234567890123456']) {
      const answer = await ask(`${running.url}/domains`, {
        headers: { authorization, 'headgate-key': key },
      });
      expect(answer.status).toBe(200);
    }
    expect(calls(running).map(({ caller }) => caller)).toEqual(['billing', 'billing', '12']);
  });

  test('reach neither the API nor the log', async () => {
    const running = await start({
      HEADGATE_TOKEN: TOKEN,
      HEADGATE_CALLER_KEYS: `billing=${BILLING}`,
    });
    await ask(`${running.url}/domains`, { headers: { 'headgate-key': BILLING } });
    await ask(`${running.url}/domains`, { headers: { 'headgate-key': `${BILLING}-typo` } });
    expect(api.seen).toHaveLength(1);
    expect(JSON.stringify(api.seen)).not.toContain(BILLING);
    expect(running.log.text).not.toContain(BILLING);
    expect(running.log.text).not.toContain(TOKEN);
  });

  test('are not shown with the settings in force', async () => {
    const keys = `billing: ${WEB}\n`;
    const running = await start({ HEADGATE_CALLER_KEYS_FILE: 'keys.yaml' }, { 'keys.yaml': keys });
    expect((await ask(`${running.adminUrl}/config`)).text).not.toContain(WEB);
    const loaded = loadSettings({ HEADGATE_CALLER_KEYS: `billing=${BILLING}` });
    expect(JSON.stringify(loaded.kind === 'ok' ? loaded.effective : [])).toContain('(secret)');
    expect(JSON.stringify(loaded.kind === 'ok' ? loaded.effective : [])).not.toContain(BILLING);
  });

  test('select the caller rule, so that no other caller can claim it', async () => {
    const yaml = 'callers:\n  - name: batch\n    shedStatus: 429\n    maxWait: 0\n';
    const running = await start(
      { HEADGATE_TOKEN: TOKEN, HEADGATE_CALLER_KEYS: `batch=${WEB},billing=${BILLING}` },
      { 'headgate.yaml': yaml },
    );
    api.consume(`token ${TOKEN}`, 'read', 80);
    await ask(`${running.url}/domains`, {
      headers: { 'headgate-key': WEB, 'headgate-max-wait': '0' },
    });
    const batch = await ask(`${running.url}/domains`, { headers: { 'headgate-key': WEB } });
    const claimed = { 'headgate-key': BILLING, 'headgate-caller': 'batch', 'headgate-max-wait': 0 };
    const billing = await ask(`${running.url}/domains`, { headers: claimed });
    expect([batch.status, billing.status]).toEqual([429, 503]);
  });

  test.each([
    ['a short key', 'billing=short', 'at least 16 characters'],
    ['a name alone', 'billing', 'name=key pairs'],
    ['a name without a key', `web=${WEB},billing`, 'got part 2 of 2 without ='],
    ['an invalid name', `bill ing=${BILLING}`, 'expected a name of at most 64'],
    ['a short key of one', `web=${WEB},billing=short`, 'billing: expected a key of at least 16'],
    ['one key for two', `a=${BILLING},b=${BILLING}`, 'b: expected a unique key'],
  ])('are refused at the start when there is %s, and not shown', (_, keys, expected) => {
    const loaded = loadSettings({ HEADGATE_CALLER_KEYS: keys });
    expect(loaded).toMatchObject({ kind: 'bad', problems: [expect.stringContaining(expected)] });
    expect(JSON.stringify(loaded)).not.toContain(BILLING);
  });

  test.each([
    ['is missing', undefined, 'expected a readable file'],
    ['is not a map', '- a\n- b\n', 'expected a map'],
    ['is empty', '', 'expected a map'],
    ['is not YAML', `a: [${BILLING}\nb: }`, 'expected valid YAML'],
    ['has a map for a key', `billing: { key: ${BILLING} }\n`, 'expected a key or a list of keys'],
    ['has a short key', 'billing: short\n', 'billing: expected a key of at least 16 characters'],
    ['has one key twice', `a: ${BILLING}\nb: ${BILLING}\n`, 'b: expected a unique key'],
    ['has the key first', `${BILLING}: billing\n`, 'expected a key of at least 16'],
  ])('are refused at the start when their file %s, and not shown', (_, text, expected) => {
    const files = text === undefined ? {} : { 'keys.yaml': text };
    const loaded = loadSettings({ HEADGATE_CALLER_KEYS_FILE: 'keys.yaml' }, files);
    expect(loaded).toMatchObject({ kind: 'bad', problems: [expect.stringContaining(expected)] });
    expect(JSON.stringify(loaded)).not.toContain(BILLING);
  });

  test('are accepted from one place only', () => {
    const loaded = loadSettings(
      { HEADGATE_CALLER_KEYS: `a=${BILLING}`, HEADGATE_CALLER_KEYS_FILE: 'keys.yaml' },
      { 'keys.yaml': `b: ${WEB}\n` },
    );
    expect(loaded).toMatchObject({
      kind: 'bad',
      problems: [expect.stringContaining('expected it without HEADGATE_CALLER_KEYS')],
    });
  });
});

describe('a token and a listener beyond loopback', () => {
  const env = { HEADGATE_TOKEN: TOKEN, HEADGATE_LISTEN: '0.0.0.0:8080' };

  test('do not start together', () => {
    expect(loadSettings(env)).toMatchObject({
      kind: 'bad',
      problems: [
        expect.stringMatching(/HEADGATE_CALLER_KEYS.*HEADGATE_OPEN=true.*0\.0\.0\.0:8080/),
      ],
    });
    const file = { HEADGATE_TOKEN_FILE: 'token', HEADGATE_LISTEN: '[::]:8080' };
    expect(loadSettings(file, { token: TOKEN })).toMatchObject({
      kind: 'bad',
      problems: [expect.stringContaining('HEADGATE_TOKEN_FILE')],
    });
  });

  test('start with keys, or with HEADGATE_OPEN', () => {
    expect(loadSettings({ ...env, HEADGATE_CALLER_KEYS: `billing=${BILLING}` }).kind).toBe('ok');
    expect(loadSettings({ ...env, HEADGATE_OPEN: 'true' }).kind).toBe('ok');
    expect(loadSettings({ HEADGATE_LISTEN: '0.0.0.0:8080' }).kind).toBe('ok');
    for (const listen of ['127.0.0.1:8080', '127.8.8.8:8080', '[::1]:8080', 'localhost:8080']) {
      expect(loadSettings({ HEADGATE_TOKEN: TOKEN, HEADGATE_LISTEN: listen }).kind).toBe('ok');
    }
  });
});
