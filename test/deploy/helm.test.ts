import { globSync, readFileSync } from 'node:fs';
import { Ajv } from 'ajv';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { loadConfig } from '../../src/config/config.ts';
import { SETTINGS, type Setting } from '../../src/config/settings.ts';
import { ROOT, Spawned, type Ended } from '../support/spawned.ts';
import { needs, pathOf } from '../support/tools.ts';
import { parseTrees, type Tree } from '../support/tree.ts';

const HOME = `${ROOT}deploy/helm/headgate`;
const read = (path: string): string => readFileSync(`${HOME}/${path}`, 'utf8');
const values = z
  .looseObject({
    settings: z.record(z.string(), z.string()),
    terminationGracePeriodSeconds: z.number(),
  })
  .parse(parse(read('values.yaml')));
const validate = new Ajv({ allowUnionTypes: true }).compile(JSON.parse(read('values.schema.json')));

test('the schema accepts the default values, and refuses misspelt and wrong ones', () => {
  expect([validate(values), validate.errors]).toEqual([true, null]);
  expect(validate({ ...values, replcias: 2 })).toBe(false);
  expect(validate({ ...values, replicas: 0 })).toBe(false);
  expect(validate({ ...values, settings: { maxWait: '2m' } })).toBe(false);
});

test('the schema knows what is mounted, annotated and labelled besides', () => {
  const extra = {
    extraVolumes: [{ name: 'ca', configMap: { name: 'ca' } }],
    extraVolumeMounts: [{ name: 'ca', mountPath: '/etc/ca', readOnly: true }],
    podAnnotations: { 'reloader.example/auto': 'true' },
    serviceMonitor: { enabled: true, labels: { release: 'prometheus' } },
  };
  expect([validate({ ...values, ...extra }), validate.errors]).toEqual([true, null]);
  expect(validate({ ...values, extraVolumes: [{ configMap: {} }] })).toBe(false);
  expect(validate({ ...values, extraVolumes: [{ name: 'headgate-admin' }] })).toBe(false);
  expect(validate({ ...values, extraVolumeMounts: [{ name: 'ca' }] })).toBe(false);
  expect(validate({ ...values, serviceMonitor: { labels: { a: 1 } } })).toBe(false);
});

test('every secret setting is refused in plain settings', () => {
  const [, list = ''] = /range list (.*?) \}\}/.exec(read('templates/configmap.yaml')) ?? [];
  const refused = [...list.matchAll(/"(\w+)"/g)].map(([, name]) => name);
  const secrets = Object.values(SETTINGS)
    .filter(({ secret }: Setting<unknown>) => secret === true)
    .map(({ variable }) => variable);
  expect(new Set(refused)).toEqual(
    // Of its URL the template refuses the password alone.
    new Set(secrets.filter((variable) => variable !== 'HEADGATE_REDIS_URL')),
  );
});

test('the gateway accepts the default settings, and a pod has the time that a drain needs', () => {
  const loaded = loadConfig({ env: values.settings, readFile: () => '' });
  if (loaded.kind === 'bad') throw new Error(loaded.problems.join());
  const { drainDelayMs, drainTimeoutMs } = loaded.config;
  const graceMs = values.terminationGracePeriodSeconds * 1000;
  expect(graceMs).toBeGreaterThan(drainDelayMs + drainTimeoutMs + 2000);
});

test('every value that the templates use is in the default values', () => {
  const templates = globSync('templates/*', { cwd: HOME }).map(read).join('\n');
  const used = [...templates.matchAll(/\.Values((?:\.\w+)+)/g)];
  expect(used.length).toBeGreaterThan(15);
  for (const [, path = ''] of used) {
    const found = path
      .slice(1)
      .split('.')
      .reduce<unknown>(
        (at, key) => (typeof at === 'object' && at !== null ? Reflect.get(at, key) : undefined),
        values,
      );
    expect([path, found !== undefined]).toEqual([path, true]);
  }
});

test('the chart has the version of the package', () => {
  const { version } = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8'));
  expect(parse(read('Chart.yaml'))).toMatchObject({ version, appVersion: version });
});

/** As the image sets it, unless a pod says otherwise. */
const IMAGE_ENV = { HEADGATE_LISTEN: '[::]:8080', HEADGATE_ADMIN_LISTEN: '[::]:8081' };

function helm(...args: readonly string[]): Promise<Ended> {
  return new Spawned(pathOf('helm'), args).ended();
}

/** What is rendered for these values, by kind and name. */
async function render(...set: readonly string[]): Promise<ReadonlyMap<string, Tree>> {
  const options = set.flatMap((value) => ['--set-json', value]);
  const { code, stdout, stderr } = await helm('template', 'shop', HOME, ...options);
  expect([code, stderr]).toEqual([0, '']);
  return byKind(stdout);
}

function byKind(text: string): ReadonlyMap<string, Tree> {
  const trees = parseTrees(text, 'helm template');
  return new Map(
    trees.map((tree) => [
      `${tree.get('kind').text()} ${tree.get('metadata', 'name').text()}`,
      tree,
    ]),
  );
}

function find(rendered: ReadonlyMap<string, Tree>, key: string): Tree {
  const found = rendered.get(key);
  if (found === undefined) throw new Error(`expected ${key}, got ${[...rendered.keys()].join()}`);
  return found;
}

describe('helm', { tags: needs('helm') }, () => {
  test('finds no fault in the chart', async () => {
    expect(await helm('lint', '--strict', HOME)).toMatchObject({ code: 0 });
  });

  test('renders the default values: settings that the gateway accepts, and one name for all', async () => {
    const rendered = await render();
    expect([...rendered.keys()].toSorted()).toEqual([
      'ConfigMap shop-headgate',
      'Deployment shop-headgate',
      'NetworkPolicy shop-headgate',
      'PodDisruptionBudget shop-headgate',
      'Service shop-headgate',
      'Service shop-headgate-admin',
    ]);
    const settings = Object.fromEntries(
      find(rendered, 'ConfigMap shop-headgate')
        .get('data')
        .entries()
        .map(([name, value]) => [name, value.text()]),
    );
    expect(settings).toEqual(values.settings);
    const loaded = loadConfig({ env: { ...IMAGE_ENV, ...settings }, readFile: () => '' });
    expect(loaded.kind === 'bad' ? loaded.problems : []).toEqual([]);
  });

  test('renders Services, a policy and a disruption budget that select the pods', async () => {
    const rendered = await render('serviceMonitor.enabled=true');
    const pod = find(rendered, 'Deployment shop-headgate').get('spec', 'template');
    const labels = pod.get('metadata', 'labels').value;
    const own = find(rendered, 'Deployment shop-headgate').get('spec', 'selector', 'matchLabels');
    expect(labels).toMatchObject({ ...Object(own.value) });
    const ports = pod
      .get('spec', 'containers', 0, 'ports')
      .items()
      .map((port) => port.get('name').text());
    for (const name of ['Service shop-headgate', 'Service shop-headgate-admin']) {
      expect(find(rendered, name).get('spec', 'selector').value).toEqual(own.value);
      const target = find(rendered, name).get('spec', 'ports', 0, 'targetPort').text();
      expect(ports).toContain(target);
    }
    for (const name of ['NetworkPolicy shop-headgate', 'PodDisruptionBudget shop-headgate']) {
      const spec = find(rendered, name).get('spec');
      const selector = spec.maybe('podSelector') ?? spec.get('selector');
      expect(selector.get('matchLabels').value).toEqual(own.value);
    }
    const monitor = find(rendered, 'ServiceMonitor shop-headgate').get('spec');
    expect(find(rendered, 'Service shop-headgate-admin').get('metadata', 'labels').value).toEqual(
      expect.objectContaining(Object(monitor.get('selector', 'matchLabels').value)),
    );
  });

  test('renders names of at most 63 characters, and release names that have ours once', async () => {
    const long = await helm('template', 'a'.repeat(53), HOME);
    for (const key of byKind(long.stdout).keys()) {
      expect(key.split(' ')[1]?.length).toBeLessThanOrEqual(63);
    }
    const named = await helm('template', 'headgate', HOME);
    expect([...byKind(named.stdout).keys()]).toContain('Deployment headgate');
  });

  test('mounts the operators’ token and further volumes, and reads the Secret', async () => {
    const rendered = await render(
      'adminSecret="operators"',
      'existingSecret="secrets"',
      'extraVolumes=[{"name":"ca","configMap":{"name":"ca"}}]',
      'extraVolumeMounts=[{"name":"ca","mountPath":"/ca"}]',
    );
    const pod = find(rendered, 'Deployment shop-headgate').get('spec', 'template', 'spec');
    const container = pod.get('containers').named('headgate');
    expect(pod.get('volumes').value).toEqual([
      { name: 'headgate-admin', secret: { secretName: 'operators' } },
      { name: 'ca', configMap: { name: 'ca' } },
    ]);
    expect(container.get('volumeMounts').value).toEqual([
      { name: 'headgate-admin', mountPath: '/etc/headgate-admin', readOnly: true },
      { name: 'ca', mountPath: '/ca' },
    ]);
    expect(container.get('env').value).toEqual([
      { name: 'HEADGATE_ADMIN_TOKEN_FILE', value: '/etc/headgate-admin/admin-token' },
    ]);
    expect(container.get('envFrom').value).toEqual([
      { configMapRef: { name: 'shop-headgate' } },
      { secretRef: { name: 'secrets' } },
    ]);
  });

  test('writes large numbers whole, and starts new pods when settings change', async () => {
    const withBuffer = (bytes: number): ReturnType<typeof render> =>
      render(`settings.HEADGATE_BODY_BUFFER=${bytes}`);
    const [before, after] = [await withBuffer(10_485_760), await withBuffer(2)];
    expect(find(before, 'ConfigMap shop-headgate').get('data', 'HEADGATE_BODY_BUFFER').value).toBe(
      '10485760',
    );
    const checksum = (rendered: ReadonlyMap<string, Tree>): unknown =>
      find(rendered, 'Deployment shop-headgate')
        .get('spec', 'template', 'metadata')
        .get('annotations', 'checksum/settings').value;
    expect(checksum(before)).not.toBe(checksum(after));
  });

  test.each([
    ['replcias=2', 'replcias'],
    ['replicas=2', 'replicas: expected settings.HEADGATE_REDIS_URL as well'],
    ['settings.HEADGATE_TOKEN=abc', 'settings.HEADGATE_TOKEN: expected this secret in the Secret'],
    [
      'settings.HEADGATE_REDIS_URL=redis://:hush@redis:6379',
      'settings.HEADGATE_REDIS_URL: expected it without a password',
    ],
    [
      'settings.HEADGATE_REWRITE_LINKS=true',
      'settings.HEADGATE_REWRITE_LINKS: expected a text, with on and off in quotes',
    ],
  ])('refuses %s, and says what was expected', async (value, problem) => {
    const { code, stderr } = await helm('template', 'shop', HOME, '--set', value);
    expect(code).not.toBe(0);
    expect(stderr).toContain(problem);
    expect(stderr).not.toContain('hush');
  });

  test('notes name the address, the way to the page and the restart', async () => {
    const options = ['--dry-run=client', '--namespace=web', '--set', 'service.port=8080'];
    const secrets = ['--set', 'adminSecret=operators', '--set', 'existingSecret=secrets'];
    const { code, stdout } = await helm('install', 'shop', HOME, ...options, ...secrets);
    expect(code).toBe(0);
    const [, notes = ''] = stdout.split('NOTES:\n');
    expect(notes).toContain("use http://shop-headgate:8080 instead of the API's URL");
    expect(notes).toContain('kubectl -n web port-forward deploy/shop-headgate 8081');
    expect(notes).toContain('the token in the Secret operators');
    expect(notes).toContain('kubectl -n web rollout restart deploy/shop-headgate');
  });

  test('runs the command of docs/deploy.md', async () => {
    const text = readFileSync(`${ROOT}docs/deploy.md`, 'utf8').replaceAll('\\\n', ' ');
    const [, words = ''] = /^helm install (.*)$/m.exec(text) ?? [];
    expect(words).toContain('existingSecret');
    const { code, stdout, stderr } = await helm('template', ...words.trim().split(/ +/));
    expect([code, stderr]).toEqual([0, '']);
    expect([...byKind(stdout).keys()]).toContain('Deployment headgate');
  });
});
