import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { loadConfig, type LoadResult } from '../../src/config/config.ts';
import { parseDuration } from '../../src/util/duration.ts';
import { ROOT } from '../support/spawned.ts';
import { readTree, type Tree } from '../support/tree.ts';

const compose = readTree('deploy/compose.yaml');
const services = new Map(compose.get('services').entries());
/** The image's environment (see Dockerfile). */
const IMAGE = { HEADGATE_LISTEN: '[::]:8080', HEADGATE_ADMIN_LISTEN: '[::]:8081' };
const haproxy = readFileSync(`${ROOT}deploy/haproxy/haproxy.cfg`, 'utf8');

function service(name: string): Tree {
  const found = services.get(name);
  if (found === undefined) throw new Error(`no service ${name}`);
  return found;
}

function environment(name: string): Record<string, string> {
  const entries = service(name).get('environment').entries();
  return Object.fromEntries(entries.map(([key, value]) => [key, value.text()]));
}

const ADMIN_TOKEN_FILE = '/run/secrets/admin-token';

/** The settings of a gateway, which reads nothing but the operators' token. */
function load(name: string): LoadResult {
  return loadConfig({
    env: { ...IMAGE, ...environment(name) },
    readFile(path) {
      if (path === ADMIN_TOKEN_FILE) return 'from-openssl-rand-base64\n';
      throw new Error(`no file ${path}`);
    },
  });
}

/** Milliseconds of a setting; NaN if it is missing. */
function ms(text: string | undefined): number {
  return parseDuration(text ?? '') ?? Number.NaN;
}

describe('deploy/compose.yaml', () => {
  test('has two gateways, Redis, a load balancer, Prometheus and Grafana', () => {
    expect([...services.keys()].sort()).toEqual(
      ['balancer', 'grafana', 'headgate-1', 'headgate-2', 'prometheus', 'redis'].sort(),
    );
  });

  test.each(['headgate-1', 'headgate-2'])('%s accepts its settings', (name) => {
    const env = environment(name);
    const loaded = load(name);
    expect(loaded.kind === 'bad' ? loaded.problems : []).toEqual([]);
    expect(env['HEADGATE_REDIS_URL']).toBe('redis://redis:6379');
  });

  test('does not start without a password for Redis, which only Redis and the gateways have', () => {
    const required = /^\$\{HEADGATE_REDIS_PASSWORD:\?[^{}]+\}$/;
    const words = service('redis').get('command').items();
    const at = words.findIndex((word) => word.value === '--requirepass');
    expect(words[at + 1]?.text()).toMatch(required);
    const withPassword = [...services].filter(([, one]) =>
      required.test(one.maybe('environment', 'HEADGATE_REDIS_PASSWORD')?.text() ?? ''),
    );
    expect(withPassword.map(([name]) => name)).toEqual(['headgate-1', 'headgate-2']);
    const inLedger = [...services].filter(([, one]) =>
      one
        .maybe('networks')
        ?.items()
        .some((network) => network.value === 'ledger'),
    );
    expect(inLedger.map(([name]) => name)).toEqual(['headgate-1', 'headgate-2', 'redis']);
    expect(service('redis').get('networks').value).toEqual(['ledger']);
    expect(compose.get('networks', 'ledger').value).toEqual({ internal: true });
  });

  test.each(['headgate-1', 'headgate-2'])(
    '%s has more time to stop than its calls may take',
    (name) => {
      const env = environment(name);
      const graceMs = ms(service(name).get('stop_grace_period').text());
      const timeoutMs = ms(env['HEADGATE_DRAIN_TIMEOUT']);
      expect(timeoutMs).toBeGreaterThanOrEqual(ms(env['HEADGATE_MAX_WAIT']));
      expect(graceMs).toBeGreaterThan(timeoutMs + ms(env['HEADGATE_DRAIN_DELAY']));
    },
  );

  test('gives no service capabilities or new privileges, and bounds every log', () => {
    for (const [name, one] of services) {
      expect([name, one.get('cap_drop').value]).toEqual([name, ['ALL']]);
      expect([name, one.get('security_opt').value]).toEqual([name, ['no-new-privileges:true']]);
      expect(one.get('logging', 'options', 'max-size').text()).toMatch(/^\d+m$/);
    }
    for (const name of ['headgate-1', 'headgate-2', 'redis']) {
      expect(service(name).get('read_only').value).toBe(true);
    }
  });

  test('publishes its ports on loopback only, each once', () => {
    const ports = [...services.values()].flatMap((one) => one.maybe('ports')?.items() ?? []);
    const published = ports.map((port) => port.text().split(':'));
    expect(new Set(published.map(([address]) => address))).toEqual(new Set(['127.0.0.1']));
    const hostPorts = new Set(published.map(([, port]) => port));
    expect(hostPorts).toEqual(new Set(['8080', '8081', '8082', '9090', '3000']));
    expect(hostPorts.size).toBe(published.length);
  });

  test('shows its operator each gateway, for a token from a file that only gateways have', () => {
    expect(compose.get('secrets', 'admin-token', 'file').text()).toBe('./admin-token');
    for (const [name, one] of services) {
      const isGateway = name.startsWith('headgate-');
      expect([name, one.maybe('secrets')?.value]).toEqual([
        name,
        isGateway ? ['admin-token'] : undefined,
      ]);
      if (!isGateway) continue;
      const loaded = load(name);
      expect(loaded.kind === 'ok' && loaded.config.adminToken).toEqual({
        kind: 'file',
        path: ADMIN_TOKEN_FILE,
      });
      expect(one.get('ports', 0).text()).toMatch(/:8081$/);
    }
  });

  test('mounts files that exist', () => {
    const mounts = [...services.values()]
      .flatMap((one) => one.maybe('volumes')?.items() ?? [])
      .map((mount) => mount.text().split(':')[0] ?? '');
    const volumes = new Set(
      compose
        .get('volumes')
        .entries()
        .map(([name]) => name),
    );
    for (const mount of mounts) {
      expect(
        mount.startsWith('./') ? existsSync(`${ROOT}deploy/${mount}`) : volumes.has(mount),
      ).toBe(true);
    }
  });

  test('has services whose names match in all files', () => {
    const balanced = [...haproxy.matchAll(/^ *server (\S+) (\S+):8080$/gm)].map(
      ([, , host]) => host,
    );
    const [job] = readTree('deploy/prometheus/prometheus.yml').get('scrape_configs').items();
    const scraped = job
      ?.get('static_configs', 0, 'targets')
      .items()
      .map((target) => target.text());
    expect(balanced).toEqual(['headgate-1', 'headgate-2']);
    expect(scraped).toEqual(['headgate-1:8081', 'headgate-2:8081']);
    const source = readTree('deploy/grafana/provisioning/datasources/prometheus.yaml');
    expect(source.get('datasources', 0, 'url').text()).toBe('http://prometheus:9090');
    const provider = readTree('deploy/grafana/provisioning/dashboards/headgate.yaml');
    const dashboards = provider.get('providers', 0, 'options', 'path').text();
    expect(
      service('grafana')
        .get('volumes')
        .items()
        .map((mount) => mount.text()),
    ).toContain(`./grafana/dashboards:${dashboards}:ro`);
  });

  test('has a balancer whose timeouts exceed any call, and that notices a draining gateway in time', () => {
    const loaded = load('headgate-1');
    if (loaded.kind === 'bad') throw new Error(loaded.problems.join('\n'));
    const { maxWaitMs, upstream, drainDelayMs } = loaded.config;
    const timeoutMs = (name: string): number =>
      ms(new RegExp(`^ *timeout ${name} (\\S+)$`, 'm').exec(haproxy)?.[1]);
    expect(timeoutMs('server')).toBeGreaterThan(maxWaitMs + upstream.timeoutMs);
    expect(timeoutMs('client')).toBeGreaterThan(maxWaitMs + upstream.timeoutMs);
    const [, inter = '', fall = ''] = /inter (\S+) fall (\d+)/.exec(haproxy) ?? [];
    expect(ms(inter) * (Number(fall) + 1)).toBeLessThan(drainDelayMs);
    expect(haproxy).toMatch(
      /http-check send meth GET uri \/health\/ready ver HTTP\/1\.1 hdr Host \S+\n/,
    );
    expect(haproxy).toContain('retry-on conn-failure\n');
  });
});
