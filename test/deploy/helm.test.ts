import { globSync, readFileSync } from 'node:fs';
import { Ajv } from 'ajv';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { loadConfig } from '../../src/config/config.ts';
import { SETTINGS, type Setting } from '../../src/config/settings.ts';
import { ROOT } from '../support/spawned.ts';

/** Tests of the chart's values. `helm template` renders it; these need no helm. */

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
