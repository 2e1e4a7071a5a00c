// @module-tag needs-kubectl
import { globSync } from 'node:fs';
import { dirname } from 'node:path';
import { expect, test } from 'vitest';
import { loadConfig } from '../../src/config/config.ts';
import { ROOT, Spawned } from '../support/spawned.ts';
import { pathOf } from '../support/tools.ts';
import { parseTrees, type Tree } from '../support/tree.ts';

/** Tests of what `kubectl kustomize` renders; kubernetes.test.ts reads the files themselves. */

const HOME = 'deploy/kubernetes';
const folders = globSync(`${HOME}/**/kustomization.yaml`, { cwd: ROOT }).map(dirname).toSorted();

async function render(folder: string): Promise<Tree[]> {
  const { code, stdout, stderr } = await new Spawned(pathOf('kubectl'), [
    'kustomize',
    folder,
  ]).ended();
  expect([code, stderr]).toEqual([0, '']);
  return parseTrees(stdout, folder);
}

function ofKind(trees: readonly Tree[], kind: string): Tree[] {
  return trees.filter((tree) => tree.get('kind').value === kind);
}

/** The pods of the Deployments, by their Deployment's name. */
function podsOf(trees: readonly Tree[]): ReadonlyMap<string, Tree> {
  return new Map(
    ofKind(trees, 'Deployment').map((tree) => [
      tree.get('metadata', 'name').text(),
      tree.get('spec', 'template', 'spec'),
    ]),
  );
}

function podOf(trees: readonly Tree[], name: string): Tree {
  const found = podsOf(trees).get(name);
  if (found === undefined) throw new Error(`expected a Deployment ${name}`);
  return found;
}

/** The values of all fields with this name, however deep they are. */
function valuesOf(field: string, node: unknown): unknown[] {
  if (typeof node !== 'object' || node === null) return [];
  return Object.entries(node).flatMap(([key, value]) =>
    (key === field ? [value] : []).concat(valuesOf(field, value)),
  );
}

test('there are overlays for each way to run', () => {
  expect(folders.map((folder) => folder.slice(HOME.length + 1))).toEqual([
    'central',
    'monitoring',
    'other-api',
    'redis',
    'restrict-egress/central',
    'restrict-egress/sidecar',
    'sidecar',
    'try-sidecar',
  ]);
});

test.each(folders)(
  '%s: every ConfigMap that a pod names is rendered, no Secret is',
  async (folder) => {
    const trees = await render(folder);
    const names = ofKind(trees, 'ConfigMap').map((tree) => tree.get('metadata', 'name').text());
    for (const pod of podsOf(trees).values()) {
      for (const reference of valuesOf('configMapRef', pod.value)) {
        expect(names).toContain(Object(reference).name);
      }
    }
    expect(ofKind(trees, 'Secret')).toEqual([]);
  },
);

test.each(['central', 'other-api', 'restrict-egress/central'])(
  '%s: the gateway accepts the settings that its pods have',
  async (folder) => {
    const trees = await render(`${HOME}/${folder}`);
    const container = podOf(trees, 'headgate').get('containers').named('headgate');
    const name = container.get('envFrom', 0, 'configMapRef', 'name').text();
    const data = ofKind(trees, 'ConfigMap').find(
      (tree) => tree.get('metadata', 'name').value === name,
    );
    const env = Object.fromEntries(
      data
        ?.get('data')
        .entries()
        .map(([variable, value]) => [variable, value.text()]) ?? [],
    );
    const loaded = loadConfig({ env, readFile: () => '' });
    if (loaded.kind === 'bad') throw new Error(loaded.problems.join());
    const isOther = folder === 'other-api';
    expect(loaded.config.preset).toBe(isOther ? 'none' : 'azion');
    expect(container.get('image').text()).toMatch(
      isOther ? /^registry\.example\.com\// : /^headgate/,
    );
  },
);

test('restrict-egress: no rule is left for any address', async () => {
  for (const way of ['central', 'sidecar']) {
    const trees = await render(`${HOME}/restrict-egress/${way}`);
    const rules = ofKind(trees, 'NetworkPolicy')
      .filter((tree) => tree.get('metadata', 'name').text().startsWith('headgate'))
      .flatMap((tree) => tree.maybe('spec', 'egress')?.items() ?? []);
    expect(rules.length).toBeGreaterThan(2);
    for (const rule of rules) expect(rule.get('to').items().length).toBeGreaterThan(0);
  }
});

test('try-sidecar: one pod of ordinary containers, which needs no Secret', async () => {
  const trees = await render(`${HOME}/try-sidecar`);
  expect([...podsOf(trees).keys()]).toEqual(['application']);
  const pod = podOf(trees, 'application');
  expect(pod.maybe('initContainers')).toBeUndefined();
  expect(
    pod
      .get('containers')
      .items()
      .map((each) => each.get('name').text()),
  ).toContain('headgate');
  expect(valuesOf('secretKeyRef', pod.value)).toEqual([]);
  expect(valuesOf('secret', pod.value)).toEqual([]);
});
