import { existsSync, globSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseDuration } from '../../src/util/duration.ts';
import { loadConfig } from '../../src/config/config.ts';
import { startRedis } from '../support/redis-server.ts';
import { ROOT, Spawned, type Ended } from '../support/spawned.ts';
import { needs } from '../support/tools.ts';
import { readTree, readTrees, type Tree } from '../support/tree.ts';

const HOME = 'deploy/kubernetes';
const files = globSync(`${HOME}/**/*.yaml`, { cwd: ROOT });
const central = readTree(`${HOME}/central/deployment.yaml`).get('spec', 'template', 'spec');
const sidecar = readTree(`${HOME}/sidecar/sidecar.yaml`).get('spec', 'template', 'spec');
const application = readTree(`${HOME}/sidecar/application.yaml`).get('spec', 'template', 'spec');
const [redis, redisService] = readTrees(`${HOME}/redis/redis.yaml`);
if (redis === undefined) throw new Error('redis.yaml has no Deployment');
const redisContainer = redis.get('spec', 'template', 'spec', 'containers').named('redis');
/** The pods of Prometheus, as its operator labels them. */
const SCRAPER = {
  namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'monitoring' } },
  podSelector: { matchLabels: { 'app.kubernetes.io/name': 'prometheus' } },
};
/** As the image sets it, unless a pod says otherwise. */
const IMAGE_ENV = { HEADGATE_LISTEN: '[::]:8080', HEADGATE_ADMIN_LISTEN: '[::]:8081' };

const centralContainer = central.get('containers').named('headgate');
const sidecarContainer = sidecar.get('initContainers').named('headgate');
const centralEnv = {
  ...literals(
    readTree(`${HOME}/central/kustomization.yaml`).get('configMapGenerator').named('headgate'),
  ),
  ...envOf(centralContainer),
};
const otherApiEnv = literals(
  readTree(`${HOME}/other-api/kustomization.yaml`).get('configMapGenerator').named('headgate'),
);
const sidecarEnv = envOf(sidecarContainer);
const ADMIN_TOKEN_FILE = '/etc/headgate-admin/admin-token';

function envOf(container: Tree): Record<string, string> {
  return Object.fromEntries(
    container
      .get('env')
      .items()
      // What only a cluster knows, such as the name of the application.
      .map((item) => [item.get('name').text(), item.maybe('value')?.text() ?? 'from-the-pod']),
  );
}

function literals(generator: Tree): Record<string, string> {
  const pairs = generator.get('literals').items();
  return Object.fromEntries(
    pairs.map((pair) => {
      const [name = '', ...value] = pair.text().split('=');
      return [name, value.join('=')];
    }),
  );
}

function portsOf(container: Tree): string[] {
  return container
    .get('ports')
    .items()
    .map((port) => port.get('name').text());
}

describe('the Kubernetes manifests', () => {
  test('parse, and the kustomizations name all of them and no other file', () => {
    const used = new Set<string>();
    for (const file of files.filter((name) => name.endsWith('kustomization.yaml'))) {
      const kustomization = readTree(file);
      const patches = kustomization.maybe('patches')?.items() ?? [];
      const named = [
        ...(kustomization.maybe('resources')?.items() ?? []),
        ...patches.flatMap((patch) => patch.maybe('path') ?? []),
      ].map((item) => join(dirname(file), item.text()));
      expect(named.filter((path) => !existsSync(`${ROOT}${path}`))).toEqual([]);
      for (const path of named) used.add(path);
    }
    for (const file of files) expect(readTrees(file).length).toBeGreaterThan(0);
    const unused = files.filter((file) => !file.endsWith('kustomization.yaml') && !used.has(file));
    expect(unused).toEqual([]);
  });

  test.each([
    ['central', centralEnv],
    ['sidecar', sidecarEnv],
    ['other-api', { ...centralEnv, ...otherApiEnv }],
  ])('%s: the gateway accepts the settings', (_name, env) => {
    const loaded = loadConfig({
      env: { ...IMAGE_ENV, ...env },
      readFile: (path) => {
        if (path === ADMIN_TOKEN_FILE) return 'from-openssl-rand-base64\n';
        throw new Error(`no file ${path}`);
      },
    });
    expect(loaded.kind === 'bad' ? loaded.problems : []).toEqual([]);
    if (loaded.kind === 'bad') return;
    expect(loaded.config.adminToken).toEqual({ kind: 'file', path: ADMIN_TOKEN_FILE });
    const sources = loaded.effective.map(({ source }) => source);
    const set = sources.filter((source) => source === 'environment' || source.startsWith('/'));
    expect(set.length).toBe(Object.keys({ ...IMAGE_ENV, ...env }).length);
  });

  test.each([
    ['central', central, centralEnv],
    ['sidecar', sidecar, sidecarEnv],
  ])('%s: the pod is left the time that its calls may take', (_name, pod, env) => {
    const graceMs = pod.get('terminationGracePeriodSeconds').number() * 1000;
    const ms = (variable: string): number => parseDuration(env[variable] ?? '') ?? Number.NaN;
    expect(ms('HEADGATE_DRAIN_TIMEOUT')).toBeGreaterThanOrEqual(ms('HEADGATE_MAX_WAIT'));
    expect(graceMs).toBeGreaterThan(ms('HEADGATE_DRAIN_DELAY') + ms('HEADGATE_DRAIN_TIMEOUT'));
  });

  test.each([
    ['central', central, centralContainer],
    ['sidecar', sidecar, sidecarContainer],
    ['the application', application, application.get('containers').named('application')],
    [
      'redis',
      redis?.get('spec', 'template', 'spec'),
      redis?.get('spec', 'template', 'spec', 'containers').named('redis'),
    ],
  ])('%s: fits the restricted profile, with a read-only file system', (_name, pod, container) => {
    const own = container?.get('securityContext');
    expect(own?.value).toMatchObject({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
    const of = (key: string): unknown =>
      own?.maybe(key)?.value ?? pod?.get('securityContext', key).value;
    expect(of('runAsNonRoot')).toBe(true);
    expect(of('runAsUser')).toBeGreaterThan(0);
    expect(of('seccompProfile')).toEqual({ type: 'RuntimeDefault' });
    expect(container?.get('resources', 'requests').value).toMatchObject({
      cpu: expect.any(String),
      memory: expect.any(String),
    });
    expect(container?.get('resources', 'limits', 'memory').text()).toMatch(/^\d+Mi$/);
  });

  test('central: probes request paths that the admin listener serves, at a port that exists', () => {
    for (const [probe, path] of [
      ['startupProbe', '/health/ready'],
      ['readinessProbe', '/health/ready'],
      ['livenessProbe', '/health/live'],
    ] as const) {
      expect(centralContainer.get(probe, 'httpGet').value).toEqual({ path, port: 'admin' });
    }
    expect(portsOf(centralContainer)).toEqual(['http', 'admin']);
  });

  test('central: Services, autoscaler, disruption budget and policy select its pods', () => {
    const labels = readTree(`${HOME}/central/deployment.yaml`).get(
      'spec',
      'template',
      'metadata',
      'labels',
    );
    const own = { 'app.kubernetes.io/name': 'headgate' };
    expect(labels.value).toMatchObject(own);
    for (const service of readTrees(`${HOME}/central/service.yaml`)) {
      expect(service.get('spec', 'selector').value).toEqual(own);
      for (const port of service.get('spec', 'ports').items()) {
        expect(portsOf(centralContainer)).toContain(port.get('targetPort').text());
      }
    }
    const [autoscaler, disruption] = readTrees(`${HOME}/central/scaling.yaml`);
    expect(autoscaler?.get('spec', 'scaleTargetRef', 'name').text()).toBe('headgate');
    expect(autoscaler?.get('spec', 'minReplicas').number()).toBeGreaterThanOrEqual(2);
    expect(disruption?.get('spec', 'selector', 'matchLabels').value).toEqual(own);
    const policy = readTree(`${HOME}/central/network-policy.yaml`).get('spec');
    expect(policy.get('podSelector', 'matchLabels').value).toEqual(own);
    const ports = policy
      .get('egress')
      .items()
      .flatMap((rule) => rule.get('ports').items());
    expect(new Set(ports.map((port) => port.get('port').number()))).toEqual(
      new Set([53, 6379, 443]),
    );
  });

  test('central: callers cannot reach the admin port', () => {
    const [callers, monitoring] = readTree(`${HOME}/central/network-policy.yaml`)
      .get('spec', 'ingress')
      .items();
    expect(callers?.get('ports').value).toEqual([{ port: 'http', protocol: 'TCP' }]);
    expect(monitoring?.get('ports').value).toEqual([{ port: 'admin', protocol: 'TCP' }]);
    expect(monitoring?.get('from').value).toEqual([SCRAPER]);
  });

  test('sidecar: is native, reachable from its own pod alone, and probed by its own command', () => {
    expect(sidecarContainer.get('restartPolicy').text()).toBe('Always');
    expect(sidecarEnv['HEADGATE_LISTEN']).toBe('127.0.0.1:8080');
    expect(sidecarEnv['HEADGATE_DRAIN_DELAY']).toBe('0');
    const health = ['node', '/app/dist/main.js', 'health'];
    for (const [probe, command] of [
      ['startupProbe', health],
      ['readinessProbe', health],
      ['livenessProbe', [...health, '--live']],
    ] as const) {
      expect(sidecarContainer.get(probe, 'exec', 'command').value).toEqual(command);
      expect(sidecarContainer.get(probe, 'timeoutSeconds').number()).toBeGreaterThanOrEqual(3);
    }
    const apiUrl = application.get('containers').named('application').get('env').named('API_URL');
    expect(apiUrl.get('value').text()).toBe(`http://${sidecarEnv['HEADGATE_LISTEN']}`);
  });

  test('our own pods take no service links, whose variables look like settings; an application keeps its', () => {
    expect(central.get('enableServiceLinks').value).toBe(false);
    expect(sidecar.maybe('enableServiceLinks')).toBeUndefined();
  });

  const FROM_SECRET = { secretKeyRef: { name: 'headgate-redis', key: 'password' } };

  test('only Redis and the gateways have the password of Redis, from a Secret that must exist', () => {
    for (const container of [centralContainer, sidecarContainer]) {
      const password = container.get('env').named('HEADGATE_REDIS_PASSWORD');
      expect(password.get('valueFrom').value).toEqual(FROM_SECRET);
    }
    expect(redisContainer.get('env').named('REDISCLI_AUTH').get('valueFrom').value).toEqual(
      FROM_SECRET,
    );
    // The label of a sidecar lets the whole pod connect to Redis, so the password must not.
    const beside = [
      ...application.get('containers').items(),
      ...(sidecar.maybe('containers')?.items() ?? []),
    ];
    expect(beside.length).toBeGreaterThan(0);
    for (const container of beside) {
      expect(JSON.stringify(container.value)).not.toContain('headgate-redis');
      expect(container.maybe('envFrom')).toBeUndefined();
    }
    for (const pod of [application, sidecar]) {
      expect(pod.maybe('shareProcessNamespace')).toBeUndefined();
    }
    const stored = files.filter((file) =>
      readTrees(file).some((one) => one.maybe('kind')?.value === 'Secret'),
    );
    expect(stored).toEqual([]);
  });

  test('only gateways have the token of operators, from a Secret that must exist', () => {
    const mount = { name: 'headgate-admin', mountPath: '/etc/headgate-admin', readOnly: true };
    const volume = { name: 'headgate-admin', secret: { secretName: 'headgate-admin' } };
    for (const [pod, container] of [
      [central, centralContainer],
      [sidecar, sidecarContainer],
    ] as const) {
      expect(container.get('volumeMounts').value).toEqual([mount]);
      expect(pod.get('volumes').value).toEqual([volume]);
    }
    expect(application.maybe('volumes')).toBeUndefined();
    expect(application.get('containers').named('application').maybe('volumeMounts')).toBe(
      undefined,
    );
  });

  test('try-sidecar: takes what needs a Secret away again', () => {
    const pod = readTree(`${HOME}/try-sidecar/stand-in-api.yaml`).get('spec', 'template', 'spec');
    const container = pod.get('initContainers').named('headgate');
    const fromSecrets = ['HEADGATE_REDIS_PASSWORD', 'HEADGATE_ADMIN_TOKEN_FILE'];
    for (const name of fromSecrets) {
      expect(container.get('env').named(name).get('$patch').text()).toBe('delete');
    }
    expect(container.get('volumeMounts').value).toEqual([
      { mountPath: '/etc/headgate-admin', $patch: 'delete' },
    ]);
    expect(pod.get('volumes').value).toEqual([{ name: 'headgate-admin', $patch: 'delete' }]);
  });

  test(
    'Redis refuses a client without the password, and its probe has it',
    { tags: needs('redis-server') },
    async ({ onTestFinished }) => {
      const password = 'from-the-secret';
      const args = redisContainer
        .get('args')
        .items()
        .map((argument) => argument.text().replace('$(REDISCLI_AUTH)', password));
      const server = await startRedis({ args: args.slice(1), password });
      onTestFinished(() => server.stop());
      const [cli, ...words] = redisContainer
        .get('readinessProbe', 'exec', 'command')
        .items()
        .map((word) => word.text());
      expect(cli).toBe('redis-cli');
      const probe = (env: Readonly<Record<string, string>>): Promise<Ended> =>
        new Spawned('redis-cli', ['-p', String(server.port), ...words], { env }).ended();
      expect(await probe({ REDISCLI_AUTH: password })).toMatchObject({ code: 0, stdout: 'PONG\n' });
      expect((await probe({})).code).not.toBe(0);
    },
  );

  test('sidecar: only Prometheus reaches the pod, at the admin port', () => {
    const policy = readTree(`${HOME}/sidecar/network-policy.yaml`).get('spec');
    const labels = readTree(`${HOME}/sidecar/sidecar.yaml`).get('spec', 'template', 'metadata');
    expect(labels.get('labels').value).toMatchObject({
      ...Object(policy.get('podSelector', 'matchLabels').value),
    });
    expect(policy.get('policyTypes').value).toEqual(['Ingress']);
    const adminPort = Number(sidecarEnv['HEADGATE_ADMIN_LISTEN']?.split(':').at(-1));
    expect(policy.get('ingress').value).toEqual([
      { from: [SCRAPER], ports: [{ port: adminPort, protocol: 'TCP' }] },
    ]);
  });

  test('restrict-egress: allows DNS, Redis and the addresses of the API alone', () => {
    const documentation = [
      { ipBlock: { cidr: '192.0.2.0/24' } },
      { ipBlock: { cidr: '2001:db8::/32' } },
    ];
    const api = { to: documentation, ports: [{ port: 443, protocol: 'TCP' }] };
    const shared = readTree(`${HOME}/central/network-policy.yaml`).get('spec', 'egress').items();
    const [dns, redisRule, anyAddress] = shared.map((rule) => rule.value);
    const own = readTree(`${HOME}/restrict-egress/sidecar/egress.yaml`).get('spec');
    expect(own.get('policyTypes').value).toEqual(['Egress']);
    expect(own.get('egress').value).toEqual([dns, redisRule, api]);
    expect(own.get('podSelector', 'matchLabels').value).toEqual({ 'headgate/gateway': 'sidecar' });
    // The patch replaces the rule that it names, and no other.
    const [check, replace] = readTree(`${HOME}/restrict-egress/central/api-addresses.yaml`).items();
    expect(check?.value).toEqual({ op: 'test', path: '/spec/egress/2', value: anyAddress });
    expect(replace?.value).toEqual({ op: 'replace', path: '/spec/egress/2', value: api });
    expect(shared.length).toBe(3);
  });

  test('Redis has the name that gateways use, and admits them', () => {
    const url = `redis://${redisService?.get('metadata', 'name').text()}:6379`;
    expect([centralEnv['HEADGATE_REDIS_URL'], sidecarEnv['HEADGATE_REDIS_URL']]).toEqual([
      url,
      url,
    ]);
    const policy = readTrees(`${HOME}/redis/redis.yaml`)[2];
    const allowed = policy?.get(
      'spec',
      'ingress',
      0,
      'from',
      0,
      'podSelector',
      'matchLabels',
    ).value;
    for (const file of ['central/deployment.yaml', 'sidecar/sidecar.yaml']) {
      const labels = readTree(`${HOME}/${file}`).get('spec', 'template', 'metadata', 'labels');
      expect(labels.value).toMatchObject({ ...Object(allowed) });
    }
  });

  test('monitors find the ports of both kinds of gateway', () => {
    const [services, pods] = readTrees(`${HOME}/monitoring/service-monitor.yaml`);
    const wanted = services?.get('spec', 'selector', 'matchLabels').value;
    const admin = readTrees(`${HOME}/central/service.yaml`)[1];
    expect(admin?.get('metadata', 'labels').value).toMatchObject({ ...Object(wanted) });
    expect(services?.get('spec', 'endpoints', 0, 'port').text()).toBe('admin');
    const labels = readTree(`${HOME}/sidecar/sidecar.yaml`).get('spec', 'template', 'metadata');
    expect(labels.get('labels').value).toMatchObject({
      ...Object(pods?.get('spec', 'selector', 'matchLabels').value),
    });
    expect(portsOf(sidecarContainer)).toContain(
      pods?.get('spec', 'podMetricsEndpoints', 0, 'port').text(),
    );
  });
});
