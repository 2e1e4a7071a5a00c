import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadConfig, type LoadResult } from '../../src/config/config.ts';
import { parseDuration } from '../../src/util/duration.ts';
import { ROOT } from '../support/spawned.ts';
import { readTree, type Tree } from '../support/tree.ts';
import { read } from './markdown.ts';

const FILES = ['examples/sidecar/compose.yaml', 'examples/central/compose.yaml'];

/** The image's environment (see Dockerfile). A service's environment overrides it. */
const IMAGE = { HEADGATE_LISTEN: '[::]:8080', HEADGATE_ADMIN_LISTEN: '[::]:8081' };

/** The shells in which a reader starts the files: with the stand-in, and with the real API. */
const SHELLS: readonly Readonly<Record<string, string>>[] = [
  { HEADGATE_REDIS_PASSWORD: 'from-openssl' },
  {
    HEADGATE_REDIS_PASSWORD: 'from-openssl',
    HEADGATE_UPSTREAM_URL: 'https://api.azionapi.net',
    API_TOKEN: 'real',
  },
];

class Compose {
  readonly path: string;
  readonly services: ReadonlyMap<string, Tree>;

  constructor(path: string) {
    this.path = path;
    this.services = new Map(readTree(path).get('services').entries());
  }

  service(name: string): Tree {
    const found = this.services.get(name);
    if (found === undefined) throw new Error(`${this.path}: no service ${name}`);
    return found;
  }

  /**
   * A service's environment, with `${NAME:-default}` replaced as Compose does. `${NAME:?error}` must
   * be in the shell, and stays as it is where it is not.
   */
  environment(name: string, shell: Readonly<Record<string, string>>): Record<string, string> {
    const entries = this.service(name).get('environment').entries();
    return Object.fromEntries(
      entries.map(([key, value]) => [
        key,
        value
          .text()
          .replaceAll(
            /\$\{(\w+):([-?])([^}]*)\}/g,
            (all: string, word: string, kind: string, other: string) =>
              shell[word] ?? (kind === '-' ? other : all),
          ),
      ]),
    );
  }

  /** The mounts of a service, with its secrets: the path in the container, and in the project. */
  mounts(name: string): Map<string, string> {
    const mounts = this.service(name).maybe('volumes')?.items() ?? [];
    const secrets = this.service(name).maybe('secrets')?.items() ?? [];
    const pairs = mounts.map((mount): [string, string] => {
      const [source = '', target = ''] = mount.text().split(':');
      return [target, source];
    });
    for (const secret of secrets) {
      const file = readTree(this.path).get('secrets', secret.text(), 'file').text();
      pairs.push([`/run/secrets/${secret.text()}`, file]);
    }
    return new Map(pairs.map(([target, source]) => [target, join(dirname(this.path), source)]));
  }

  /** The gateway's settings, as the gateway reads them in its container. */
  gateway(shell: Readonly<Record<string, string>>): LoadResult {
    const mounts = this.mounts('headgate');
    return loadConfig({
      env: { ...IMAGE, ...this.environment('headgate', shell) },
      readFile(path) {
        const source = mounts.get(path);
        if (source === undefined) throw new Error(`${path} is not mounted`);
        return read(source);
      },
    });
  }
}

describe.each(FILES)('%s', (path) => {
  const compose = new Compose(path);

  test.each(SHELLS)('has a gateway that accepts its settings, started with %j', (shell) => {
    const loaded = compose.gateway(shell);
    expect(loaded.kind === 'bad' ? loaded.problems : []).toEqual([]);
    const { HEADGATE_UPSTREAM_URL: upstream } = compose.environment('headgate', shell);
    expect(upstream).toBe(shell['HEADGATE_UPSTREAM_URL'] ?? 'http://api:9000');
  });

  test('gives the gateway more time to stop than its calls may take', () => {
    const { HEADGATE_MAX_WAIT, HEADGATE_DRAIN_DELAY, HEADGATE_DRAIN_TIMEOUT } = compose.environment(
      'headgate',
      {},
    );
    const ms = (text = ''): number => parseDuration(text) ?? Number.NaN;
    const graceMs = ms(compose.service('headgate').get('stop_grace_period').text());
    expect(ms(HEADGATE_DRAIN_TIMEOUT)).toBeGreaterThanOrEqual(ms(HEADGATE_MAX_WAIT));
    expect(graceMs).toBeGreaterThan(ms(HEADGATE_DRAIN_TIMEOUT) + ms(HEADGATE_DRAIN_DELAY));
  });

  test('mounts files that exist, and runs scripts that are mounted', () => {
    for (const [name, service] of compose.services) {
      const mounts = compose.mounts(name);
      for (const source of mounts.values()) {
        expect([source, existsSync(ROOT + source)]).toEqual([source, true]);
      }
      const words = service.maybe('command')?.items() ?? [];
      const scripts = words.flatMap((word) => word.text().match(/\/\S+\.mjs/g) ?? []);
      for (const script of scripts) {
        const folder = [...mounts.keys()].find((target) => script.startsWith(target)) ?? 'nothing';
        const file = `${mounts.get(folder)}${script.slice(folder.length)}`;
        expect([script, existsSync(ROOT + file)]).toEqual([script, true]);
      }
    }
  });

  test('shows its operator the live page, for a token that the gateway alone has', () => {
    const loaded = compose.gateway({});
    if (loaded.kind === 'bad') throw new Error(loaded.problems.join('\n'));
    const path = '/run/secrets/admin-token';
    expect(loaded.config.adminToken).toEqual({ kind: 'file', path });
    expect(compose.mounts('headgate').get(path)).toBe('examples/admin-token');
    expect(loaded.config.adminListen).toEqual({ host: '::', port: 8081 });
    for (const [name, service] of compose.services) {
      const ports = service.maybe('ports')?.items() ?? [];
      const ofAdmin = ports.filter((port) => /^127\.0\.0\.1:[\d-]+:8081$/.test(port.text()));
      expect([name, ofAdmin.length]).toEqual([name, name === 'headgate' ? 1 : 0]);
      expect(ports.length).toBe(ofAdmin.length);
      const hasToken = compose.mounts(name).has(path);
      expect([name, hasToken]).toEqual([name, name === 'headgate']);
    }
  });

  test('gives no service capabilities, new privileges or a writable disk', () => {
    for (const [name, service] of compose.services) {
      expect([name, service.get('cap_drop').value]).toEqual([name, ['ALL']]);
      expect([name, service.get('security_opt').value]).toEqual([name, ['no-new-privileges:true']]);
      expect([name, service.get('read_only').value]).toEqual([name, true]);
    }
  });

  test('gives its callers variables that they read', () => {
    const caller = read('examples/callers/call.mjs');
    const callers = [...compose.services.keys()].filter((name) =>
      compose.mounts(name).has('/callers'),
    );
    expect(callers.length).toBeGreaterThan(0);
    for (const name of callers) {
      const names = Object.keys(compose.environment(name, {}));
      expect(names.filter((variable) => !caller.includes(`  ${variable}`))).toEqual([]);
    }
  });
});

describe('the sidecar', () => {
  const compose = new Compose('examples/sidecar/compose.yaml');

  test('takes calls of its application alone', () => {
    const loaded = compose.gateway({});
    if (loaded.kind === 'bad') throw new Error(loaded.problems.join('\n'));
    expect(loaded.config.listen).toEqual({ host: '127.0.0.1', port: 8080 });
    const application = compose.service('application');
    expect(application.get('network_mode').text()).toBe('service:headgate');
    expect(compose.environment('application', {})['HEADGATE_URL']).toBe('http://127.0.0.1:8080');
  });
});

describe('the central gateway', () => {
  const compose = new Compose('examples/central/compose.yaml');

  test('has two replicas that share their budgets', () => {
    expect(compose.service('headgate').get('deploy', 'replicas').number()).toBe(2);
    expect(compose.environment('headgate', {})['HEADGATE_REDIS_URL']).toBe('redis://redis:6379');
    expect([...compose.services.keys()]).toContain('redis');
  });

  test('has a Redis that only the gateway reaches, with a password that must be set', () => {
    const required = /^\$\{HEADGATE_REDIS_PASSWORD:\?[^{}]+\}$/;
    const words = compose.service('redis').get('command').items();
    const at = words.findIndex((word) => word.value === '--requirepass');
    expect(words[at + 1]?.text()).toMatch(required);
    expect(compose.environment('headgate', {})['HEADGATE_REDIS_PASSWORD']).toMatch(required);
    const inLedger = [...compose.services].filter(([, service]) =>
      service
        .maybe('networks')
        ?.items()
        .some((network) => network.value === 'ledger'),
    );
    expect(inLedger.map(([name]) => name).toSorted()).toEqual(['headgate', 'redis']);
    expect(compose.service('redis').get('networks').value).toEqual(['ledger']);
  });

  test.each(['billing', 'nightly-report'])('knows the key of %s', (name) => {
    const key = readTree('examples/central/caller-keys.yaml').get(name).text();
    expect(compose.environment(name, {})).toMatchObject({
      HEADGATE_URL: 'http://headgate:8080',
      CALLER_KEY: key,
    });
  });
});
