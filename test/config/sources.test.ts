import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeSettings } from '../../src/cli/check-config.ts';
import { loadConfig, type Config } from '../../src/config/config.ts';
import type { EffectiveSetting } from '../../src/config/effective.ts';
import { LISTS } from '../../src/config/lists.ts';
import { fileKey, SETTINGS } from '../../src/config/settings.ts';

type Environment = Readonly<Record<string, string>>;

function load(
  env: Environment,
  file?: string,
): { config: Config; effective: readonly EffectiveSetting[] } {
  const loaded = loadConfig({
    env,
    ...(file === undefined ? {} : { configPath: 'headgate.yaml' }),
    readFile: () => file ?? '',
  });
  if (loaded.kind === 'bad') throw new Error(loaded.problems.join('\n'));
  return loaded;
}

function problemsOf(env: Environment): readonly string[] {
  const loaded = loadConfig({ env, readFile: () => '' });
  return loaded.kind === 'bad' ? loaded.problems : [];
}

function sourceOf(effective: readonly EffectiveSetting[], variable: string): string | undefined {
  return effective.find((one) => one.variable === variable)?.source;
}

describe('a setting', () => {
  test('is taken from the environment, else the file, else the preset, else its default', () => {
    const file = 'maxWait: 3m\nshedStatus: 429\nupstreamUrl: https://file.example/base/';
    const { config, effective } = load({ HEADGATE_MAX_WAIT: '5s' }, file);
    expect(config).toMatchObject({ maxWaitMs: 5000, shedStatus: 429, maxQueue: 10_000 });
    expect(config.upstream).toMatchObject({ origin: 'https://file.example', basePath: '/base' });
    expect(config.apiVersion).toEqual({
      kind: 'accept',
      version: '3',
      mediaType: 'application/json',
    });
    expect(sourceOf(effective, 'HEADGATE_MAX_WAIT')).toBe('environment');
    expect(sourceOf(effective, 'HEADGATE_SHED_STATUS')).toBe('file');
    expect(sourceOf(effective, 'HEADGATE_API_VERSION')).toBe('preset');
    expect(sourceOf(effective, 'HEADGATE_MAX_QUEUE')).toBe('default');
    expect(sourceOf(effective, 'HEADGATE_TOKEN')).toBe('nobody');
  });

  test('with an empty text is not set', () => {
    const { config } = load({ HEADGATE_MAX_WAIT: '', HEADGATE_CONFIG: '', HEADGATE_TOKEN: '' });
    expect(config.maxWaitMs).toBe(120_000);
    expect(config.token).toEqual({ kind: 'none' });
  });

  test('in a file keeps its spelling', () => {
    const { config } = load({}, 'token: 0123456789\napiVersion: 1.10');
    expect(config.token).toEqual({ kind: 'value', value: '0123456789' });
    expect(config.apiVersion).toMatchObject({ version: '1.10' });
  });

  test('is taken from the file of --config rather than that of HEADGATE_CONFIG', () => {
    const opened: string[] = [];
    loadConfig({
      env: { HEADGATE_CONFIG: 'from-environment.yaml' },
      configPath: 'from-command-line.yaml',
      readFile(path) {
        opened.push(path);
        return '';
      },
    });
    expect(opened).toEqual(['from-command-line.yaml']);
  });

  test('cannot be changed after loading', () => {
    const { config } = load({});
    expect(Object.isFrozen(config) && Object.isFrozen(config.upstream)).toBe(true);
    expect(Object.isFrozen(config.classes[0])).toBe(true);
  });

  test('has a unique name in a file', () => {
    const keys = Object.values(SETTINGS).map(({ variable }) => fileKey(variable));
    expect(new Set(keys).size).toBe(keys.length);
  });

  test('has a valid default and a description', () => {
    for (const { variable, kind, fallback, doc } of Object.values(SETTINGS)) {
      const isValid = fallback === undefined || kind.parse(fallback) !== undefined;
      expect([variable, isValid]).toEqual([variable, true]);
      expect(doc).toMatch(/\.$/);
    }
  });
});

describe('the preset’s lists', () => {
  test('combine with those of the file: callers after them, masks with them, classes only without them', () => {
    const { config } = load(
      {},
      'callers: [{name: mine, weight: 2}]\npathMasks: [/mine/*]\nqueryMasks: [key]\nclasses: [{name: everything}]',
    );
    expect(config.callers[0]).toEqual({ name: 'mine', weight: 2 });
    expect(config.callers.length).toBeGreaterThan(1);
    expect(config.pathMasks).toEqual(['/tokens/*', '/mine/*']);
    expect(config.queryMasks).toEqual(['key']);
    expect(config.classes).toEqual([{ name: 'everything' }]);
  });

  test('are empty for another API', () => {
    const env = { HEADGATE_PRESET: 'none', HEADGATE_UPSTREAM_URL: 'http://api.example' };
    const { config } = load(env);
    expect(config).toMatchObject({ classes: [], pathMasks: [], callers: [], apiVersion: 'off' });
    expect(config.queryMasks).toEqual(['access_token']);
  });
});

describe('limits', () => {
  const PURGE = { limit: 200, periodMs: 60_000 };

  test('of a class are texts or maps, and those after the first without a name get one', () => {
    const { config } = load(
      {},
      'classes: [{name: purge, limits: [{name: objects, limit: 10000/1m, cost: 3}, 200/1m, 2000/1d, {limit: 90/1h, scope: api}]}]',
    );
    expect(config.classes[0]?.limits).toEqual([
      { name: 'objects', limit: 10_000, periodMs: 60_000, cost: 3 },
      PURGE,
      { name: '2000-per-1d', limit: 2000, periodMs: 86_400_000 },
      { name: '90-per-1h-api', limit: 90, periodMs: 3_600_000, scope: 'api' },
    ]);
  });

  test('and accounts of an API replace those at the top level, and those replace the preset’s', () => {
    const file = [
      'secret: a-secret-that-is-long-enough',
      'limits: [{ name: common, limit: 1/1s }]',
      'accounts: { main: [own] }',
      'apis:',
      '  one: { preset: discord, match: { path: /one/** } }',
      '  two:',
      '    preset: discord',
      '    limits: [{ name: mine, limit: 2/1s, scope: account }]',
      '    accounts: { other: [4f6c0d7be12a9c03] }',
    ].join('\n');
    const [one, two] = load({}, file).config.apis;
    const namesOf = (api: typeof one): unknown => [
      api?.limits.map(({ name }) => name),
      api?.accounts.map(({ name }) => name),
    ];
    expect(namesOf(one)).toEqual([['common'], ['main']]);
    expect(namesOf(two)).toEqual([['mine'], ['other']]);
    const { config } = load({ HEADGATE_PRESET: 'discord' });
    expect(config.limits.map(({ name }) => name)).toEqual(['global']);
    expect(load({ HEADGATE_PRESET: 'discord' }, 'limits: []').config.limits).toEqual([]);
  });
});

describe('an environment variable', () => {
  test.each([
    ['HEADGATE_MAX_WIAT', /did you mean HEADGATE_MAX_WAIT\?$/],
    ['HEADGATE_REDIS', /did you mean HEADGATE_REDIS_\w+\?$/],
    ['HEADGATE_COLOUR_OF_THE_SKY', /docs\/configuration\.md lists the settings$/],
  ])('%s is reported as unknown, with a hint', (name, hint) => {
    const [problem, ...others] = problemsOf({ [name]: '1' });
    expect(problem).toMatch(new RegExp(`^${name}: expected a known setting, got an unknown one; `));
    expect(problem).toMatch(hint);
    expect(others).toEqual([]);
  });

  test('without our prefix is ignored', () => {
    expect(problemsOf({ HEADGATES: '1', PATH: '/bin', headgate_max_wait: '1' })).toEqual([]);
  });

  test('with an invalid value does not hide other problems', () => {
    expect(
      problemsOf({ HEADGATE_MAX_WAIT: 'x', HEADGATE_RETRIES: 'y', HEADGATE_LIMIT: 'z' }),
    ).toHaveLength(3);
  });
});

describe('certificates to trust', () => {
  const key = '-----BEGIN PRIVATE KEY-----\nMIG…\n-----END PRIVATE KEY-----\n';
  const other = '-----BEGIN CERTIFICATE REQUEST-----\nMIG…\n-----END CERTIFICATE REQUEST-----\n';

  test.each([
    ['HEADGATE_UPSTREAM_CA', {}],
    ['HEADGATE_REDIS_CA', { HEADGATE_REDIS_URL: 'rediss://redis' }],
  ])('%s is neither a private key nor another file', (variable, env) => {
    const problemOf = (text: string): string => {
      const loaded = loadConfig({ env: { ...env, [variable]: 'ca.pem' }, readFile: () => text });
      return loaded.kind === 'bad' ? loaded.problems.join('\n') : '';
    };
    const expected = `${variable}: expected certificates in PEM, got: a file`;
    expect(problemOf(key)).toBe(`${expected} with a private key`);
    expect(problemOf(other)).toBe(`${expected} without a certificate`);
    expect(problemOf('')).toBe(`${expected} without a certificate`);
  });
});

describe('a secret', () => {
  const secrets = Object.values(SETTINGS).filter((setting) => 'secret' in setting);

  test.each(secrets.map(({ variable }) => variable))('%s is never shown', (variable) => {
    // The first value is invalid for every secret, because of its space. The second one is valid.
    for (const value of ['hunter2 hunter2', 'hunter2hunter2hunter2']) {
      const loaded = loadConfig({ env: { [variable]: value }, readFile: () => '' });
      const printed =
        loaded.kind === 'bad' ? loaded.problems.join('\n') : describeSettings(loaded.effective);
      expect(printed).toContain(variable);
      expect(printed).not.toContain('hunter2');
    }
  });

  test('within a URL is not shown either', () => {
    for (const variable of ['HEADGATE_UPSTREAM_URL', 'HEADGATE_REDIS_URL']) {
      for (const scheme of ['https', 'redis', 'gopher']) {
        const printed = problemsOf({ [variable]: `${scheme}://me:hunter2@host:x` }).join('\n');
        expect(printed).toContain(`${variable}: expected`);
        expect(printed).not.toContain('hunter2');
      }
    }
  });

  test('in an invalid token file is reported by its length only', () => {
    const loaded = loadConfig({
      env: { HEADGATE_TOKEN_FILE: '/run/token' },
      readFile: () => 'hunter2 hunter2\n',
    });
    expect(loaded).toEqual({
      kind: 'bad',
      problems: [expect.stringMatching(/^HEADGATE_TOKEN_FILE: expected .*got 15 characters/)],
    });
  });
});

describe('any file', () => {
  test('is either loaded or reported, one line per problem, and nothing is thrown', () => {
    const scalar = fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null));
    const keys = [
      ...Object.values(SETTINGS).map(({ variable }) => fileKey(variable)),
      'callers',
      'classes',
      'pathMasks',
      'queryMasks',
      'rateHeaders',
    ];
    const documents = fc.oneof(
      fc.string(),
      fc
        .dictionary(fc.oneof(fc.constantFrom(...keys), fc.string()), fc.anything({ maxDepth: 3 }))
        .map((value) => JSON.stringify(value)),
      fc
        .array(fc.tuple(fc.constantFrom(...keys), scalar), { maxLength: 8 })
        .map((lines) => lines.map(([key, value]) => `${key}: ${String(value)}`).join('\n')),
    );
    fc.assert(
      fc.property(documents, (file) => {
        const loaded = loadConfig({
          env: {},
          configPath: 'headgate.yaml',
          readFile(path) {
            if (path === 'headgate.yaml') return file;
            throw new Error('no such file');
          },
        });
        const problems = loaded.kind === 'bad' ? loaded.problems : [];
        expect(problems.filter((problem) => /[\n\r]/.test(problem) || problem === '')).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });
});

describe('check-config', () => {
  test('prints the lists in force, with their rules and their sources', () => {
    const file = [
      'callerKeys: dashboard=a-key-of-the-dashboard',
      'callers: [{ name: dashboard, maxWait: 5s, weight: 3, quota: 500/1h, reserve: 20% }]',
      'classes: [{ name: read, methods: [GET, HEAD] }, { name: purge, path: /purge/* }]',
      'queryMasks: [signature]',
    ].join('\n');
    const shown = describeSettings(load({}, file).effective);
    expect(shown).toMatch(
      /^callers +dashboard \(weight: 3; maxWait: 5000ms; quota: 500\/1h; reserve: 20%\), \* \(userAgent: /m,
    );
    expect(shown).toMatch(/^callers .* {2}\(file and preset\)$/m);
    expect(shown).toMatch(
      /^classes +read \(methods: GET HEAD\), purge \(path: \/purge\/\*\) {2}\(file\)$/m,
    );
    expect(shown).toMatch(/^pathMasks +\/tokens\/\* {2}\(preset\)$/m);
    expect(shown).toMatch(/^queryMasks +signature {2}\(file\)$/m);
    expect(describeSettings(load({}).effective)).toMatch(/^queryMasks +–$/m);
  });

  test('prints limits and accounts', () => {
    const file = [
      'secret: a-secret-that-is-long-enough',
      'classes: [{ name: purge, limits: [200/1m, 2000/1d, {name: objects, limit: 10000/60s, cost: {body: /urls, count: true, else: 50}}] }]',
      'limits: [{ name: global, limit: 50/1s, scope: account, classes: [purge] }]',
      'accounts: { main: [4f6c0d7be12a9c03, own] }',
    ].join('\n');
    const shown = describeSettings(load({}, file).effective);
    expect(shown).toMatch(
      /^classes +purge \(limits: 200\/1m and 2000-per-1d 2000\/1d and objects 10000\/1m \(cost: \{"body":"\/urls","count":true,"else":50\}\)\) {2}\(file\)$/m,
    );
    expect(shown).toMatch(/^limits +global 50\/1s per account \(classes: purge\) {2}\(file\)$/m);
    expect(shown).toMatch(/^accounts +main \(credentials: 4f6c0d7be12a9c03 own\) {2}\(file\)$/m);
  });

  test('prints which requests each of several APIs serves', () => {
    const file = [
      'apis:',
      '  azion: { preset: azion }',
      '  github: { preset: github, match: { host: [github.internal, gh.internal] } }',
      '  other: { preset: none, upstreamUrl: "http://a", match: { host: b.internal, path: /v4/** } }',
    ].join('\n');
    const shown = describeSettings(load({}, file).effective);
    expect(shown).toMatch(/^apis\.azion\.match +every other request {2}\(default\)$/m);
    expect(shown).toMatch(
      /^apis\.github\.match +host: github\.internal gh\.internal {2}\(file\)$/m,
    );
    expect(shown).toMatch(/^apis\.other\.match +host: b\.internal; path: \/v4\/\*\* {2}\(file\)$/m);
  });

  test('says that a configured limit is the limit of each class', () => {
    const file =
      'classes: [{ name: read, methods: [GET] }, { name: purge, path: /purge, limits: [9/1s] }, { name: write }]';
    expect(describeSettings(load({ HEADGATE_LIMIT: '200/1m' }, file).effective)).toMatch(
      /^HEADGATE_LIMIT +200\/1m for each of read, write {2}\(environment\)$/m,
    );
    expect(
      describeSettings(
        load({ HEADGATE_PRESET: 'none', HEADGATE_UPSTREAM_URL: 'http://a', HEADGATE_LIMIT: '9/1s' })
          .effective,
      ),
    ).toMatch(/^HEADGATE_LIMIT +9\/1s {2}\(environment\)$/m);
  });

  test('prints every setting and its source, in aligned columns', () => {
    const { effective } = load({ HEADGATE_MAX_WAIT: '5s', HEADGATE_TOKEN: 'hunter2' });
    const lines = describeSettings(effective).trimEnd().split('\n');
    expect(lines).toHaveLength(Object.keys(SETTINGS).length + Object.keys(LISTS).length);
    expect(lines.find((line) => line.startsWith('HEADGATE_MAX_WAIT '))).toMatch(
      /^HEADGATE_MAX_WAIT +5s {2}\(environment\)$/,
    );
    expect(lines.find((line) => line.startsWith('HEADGATE_TOKEN '))).toMatch(
      /^HEADGATE_TOKEN +\(secret\) {2}\(environment\)$/,
    );
    const columns = new Set(lines.map((line) => /^\S+ +/.exec(line)?.[0].length));
    expect(columns.size).toBe(1);
  });
});
