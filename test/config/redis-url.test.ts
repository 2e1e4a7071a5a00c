import { describe, expect, test } from 'vitest';
import { loadConfig, type LoadResult } from '../../src/config/config.ts';
import { redisConfig } from '../../src/config/redis.ts';
import { redisUrl } from '../../src/config/redis-url.ts';

const PLAIN = { tls: false, username: undefined, password: undefined, db: 0 };

describe('HEADGATE_REDIS_URL', () => {
  test.each([
    ['redis://one', { topology: { kind: 'single', at: { host: 'one', port: 6379 } } }],
    [
      'redis://[::1]:7000/3',
      { topology: { kind: 'single', at: { host: '::1', port: 7000 } }, db: 3 },
    ],
    [
      'rediss://me:s%40y@one:1/',
      {
        topology: { kind: 'single', at: { host: 'one', port: 1 } },
        tls: true,
        username: 'me',
        password: 's@y',
      },
    ],
    [
      'redis+sentinel://:pw@one,two:7/main/2',
      {
        topology: {
          kind: 'sentinel',
          sentinels: [
            { host: 'one', port: 26_379 },
            { host: 'two', port: 7 },
          ],
          master: 'main',
        },
        password: 'pw',
        db: 2,
      },
    ],
    [
      'rediss+cluster://one,two:7',
      {
        topology: {
          kind: 'cluster',
          nodes: [
            { host: 'one', port: 6379 },
            { host: 'two', port: 7 },
          ],
        },
        tls: true,
      },
    ],
  ])('parses %s', (url, expected) => {
    expect(redisUrl.parse(url)).toEqual({ ...PLAIN, ...expected });
  });

  test.each([
    'one:6379',
    'http://one',
    'redis://',
    'redis://one,two',
    'redis://one/zero',
    'redis://one/0/1',
    'redis://one:0',
    'redis://one:70000',
    'redis://a:%zz@one',
    'redis+sentinel://one',
    'redis+sentinel://one/main/x',
    'redis+cluster://one/1',
    'redis+cluster://one,,two',
    'redis://one?x=1',
  ])('rejects %s', (url) => {
    expect(redisUrl.parse(url)).toBeUndefined();
  });
});

describe('its files', () => {
  const settings = {
    address: redisUrl.parse('rediss://one'),
    prefix: 'headgate',
    timeoutMs: 100,
    caPath: undefined,
    certPath: undefined,
    keyPath: undefined,
    authPath: 'auth',
    password: undefined,
  };

  test.each([
    ['me:pass:word\n', { username: 'me', password: 'pass:word' }],
    ['password\n', { username: undefined, password: 'password' }],
    [':password', { username: undefined, password: 'password' }],
  ])('contain a login: %j', (content, expected) => {
    const problems: string[] = [];
    expect(redisConfig(settings, () => content, problems)?.address).toMatchObject(expected);
    expect(problems).toEqual([]);
  });

  test('keep the user of the URL where they contain a password alone', () => {
    const address = redisUrl.parse('rediss://me@one');
    expect(redisConfig({ ...settings, address }, () => 'pw', [])?.address).toMatchObject({
      username: 'me',
      password: 'pw',
    });
  });

  test('must not be empty where they are to contain a login', () => {
    const problems: string[] = [];
    redisConfig(settings, () => '\n', problems);
    expect(problems).toEqual([
      'HEADGATE_REDIS_AUTH_FILE: expected a file with user:password or a password, got an empty one',
    ]);
  });

  test('must not repeat the password of the URL, and TLS files need a URL with TLS', () => {
    const problems: string[] = [];
    const address = redisUrl.parse('redis://me:pw@one');
    redisConfig({ ...settings, address, caPath: 'ca' }, () => 'text', problems);
    expect(problems).toEqual([
      'HEADGATE_REDIS_CA: expected certificates in PEM, got: a file without a certificate',
      'HEADGATE_REDIS_URL: expected rediss://, because TLS files are set; got a URL without TLS',
      'HEADGATE_REDIS_AUTH_FILE: expected it without a password in HEADGATE_REDIS_URL, got both',
    ]);
  });
});

describe('HEADGATE_REDIS_PASSWORD', () => {
  const load = (env: Readonly<Record<string, string>>): LoadResult =>
    loadConfig({ env, readFile: () => 'from-the-file' });
  const login = (env: Readonly<Record<string, string>>): unknown => {
    const loaded = load(env);
    if (loaded.kind === 'bad') return loaded.problems;
    const { username, password } = loaded.config.redis?.address ?? {};
    return { username, password };
  };
  const HEADGATE_REDIS_URL = 'redis://one';

  test('is the password of the URL’s user, taken as it is', () => {
    const HEADGATE_REDIS_PASSWORD = 's@y:100%/#"';
    expect(login({ HEADGATE_REDIS_URL, HEADGATE_REDIS_PASSWORD })).toEqual({
      username: undefined,
      password: HEADGATE_REDIS_PASSWORD,
    });
    expect(login({ HEADGATE_REDIS_URL: 'redis://me@one', HEADGATE_REDIS_PASSWORD })).toEqual({
      username: 'me',
      password: HEADGATE_REDIS_PASSWORD,
    });
  });

  test('is expected in one place only', () => {
    const HEADGATE_REDIS_PASSWORD = 'pw';
    expect(login({ HEADGATE_REDIS_URL: 'redis://:pw@one', HEADGATE_REDIS_PASSWORD })).toEqual([
      'HEADGATE_REDIS_PASSWORD: expected it without a password in HEADGATE_REDIS_URL, got both',
    ]);
    expect(
      login({ HEADGATE_REDIS_URL, HEADGATE_REDIS_PASSWORD, HEADGATE_REDIS_AUTH_FILE: 'auth' }),
    ).toEqual(['HEADGATE_REDIS_PASSWORD: expected it without HEADGATE_REDIS_AUTH_FILE, got both']);
  });

  test('is never shown', () => {
    for (const HEADGATE_REDIS_PASSWORD of ['hunter22', 'hunter22\n']) {
      const shown = JSON.stringify(
        load({ HEADGATE_REDIS_URL, HEADGATE_REDIS_PASSWORD }),
        (key, value) => (key === 'config' ? undefined : value),
      );
      expect(shown).toContain('HEADGATE_REDIS_PASSWORD');
      expect(shown).not.toContain('hunter22');
    }
    expect(login({ HEADGATE_REDIS_URL, HEADGATE_REDIS_PASSWORD: 'hunter22\n' })).toEqual([
      'HEADGATE_REDIS_PASSWORD: expected a text without line ends, got a value of 9 characters',
    ]);
  });
});
