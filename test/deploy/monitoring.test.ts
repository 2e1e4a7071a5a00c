import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ask } from '../support/ask.ts';
import { startGatewayProcess } from '../support/gateway-process.ts';
import { ROOT, Spawned, type Ended } from '../support/spawned.ts';
import { readTree, type Tree } from '../support/tree.ts';
import { needs } from '../support/tools.ts';

const HOME = `${ROOT}deploy/prometheus`;
const rules = readTree('deploy/prometheus/headgate.rules.yaml');
const dashboard = readTree('deploy/grafana/dashboards/headgate.json');
const alerts = rules
  .get('groups')
  .items()
  .flatMap((group) => group.get('rules').items());

/** Runs promtool. Rejects if it is not installed. */
function promtool(...args: readonly string[]): Promise<{ code: number; output: string }> {
  return new Promise((resolve, reject) => {
    execFile('promtool', args, { cwd: HOME }, (error, stdout, stderr) => {
      if (error?.code === 'ENOENT') {
        reject(new Error('promtool is missing: install the Debian package prometheus'));
        return;
      }
      resolve({ code: error === null ? 0 : Number(error.code), output: stdout + stderr });
    });
  });
}

/** The names of our metrics, and of the process's, in a PromQL expression. */
function metricsIn(expression: string): string[] {
  return expression.match(/\b(?:headgate|process|nodejs)_\w+/g) ?? [];
}

function expressionsOf(panel: Tree): string[] {
  const targets = panel.maybe('targets')?.items() ?? [];
  return targets.map((target) => target.get('expr').text());
}

describe('the alerts', () => {
  test.each([
    ['check', 'rules', 'headgate.rules.yaml'],
    ['check', 'config', 'prometheus.yml'],
    ['test', 'rules', 'headgate.rules.test.yaml'],
  ])('promtool %s %s %s finds nothing wrong', { tags: needs('promtool') }, async (...args) => {
    const { code, output } = await promtool(...args);
    expect(output).toContain('SUCCESS');
    expect(code).toBe(0);
  });

  test('have a test each, for a case in which they fire and one in which they do not', () => {
    const cases = readTree('deploy/prometheus/headgate.rules.test.yaml')
      .get('tests')
      .items()
      .flatMap((one) => one.get('alert_rule_test').items());
    for (const alert of alerts) {
      const name = alert.get('alert').text();
      const own = cases.filter((one) => one.get('alertname').text() === name);
      const fired = own.map((one) => one.get('exp_alerts').items().length > 0);
      expect([name, new Set(fired)]).toEqual([name, new Set([true, false])]);
    }
  });

  test('link to a heading of the runbook each', () => {
    const runbook = readFileSync(`${ROOT}docs/runbook.md`, 'utf8');
    const bases = new Set<string>();
    const anchors = [...runbook.matchAll(/^## (.+)$/gm)].map(([, heading = '']) => heading);
    for (const alert of alerts) {
      const name = alert.get('alert').text();
      const [base = '', fragment] = alert.get('annotations', 'runbook_url').text().split('#');
      expect(fragment).toBe(name.toLowerCase());
      expect(anchors).toContain(name);
      bases.add(base);
    }
    expect(bases.size).toBe(1);
    for (const base of bases) expect(new URL(base).protocol).toBe('https:');
  });

  test(
    'link to the address that scripts/runbook-url.sh is given, in all files',
    { tags: needs('promtool') },
    async ({ onTestFinished }) => {
      const copy = await mkdtemp(join(tmpdir(), 'headgate-runbook-url-'));
      onTestFinished(() => rm(copy, { recursive: true }));
      await cp(`${ROOT}deploy`, join(copy, 'deploy'), { recursive: true });
      await cp(`${ROOT}scripts/runbook-url.sh`, join(copy, 'scripts/runbook-url.sh'));
      const set = (url: string): Promise<Ended> =>
        new Spawned('sh', [join(copy, 'scripts/runbook-url.sh'), url]).ended();
      expect((await set('wiki/headgate')).stderr).toContain('expected an http or https URL');
      const url = 'https://wiki.example.com/spaces/ops,on-call?page=headgate';
      expect(await set(url)).toMatchObject({ code: 0, stdout: `${alerts.length}\n` });
      const written = await Promise.all(
        ['prometheus/headgate.rules.yaml', 'kubernetes/monitoring/prometheus-rule.yaml'].map(
          (name) => readFile(join(copy, 'deploy', name), 'utf8'),
        ),
      );
      for (const text of written) {
        expect(text.match(/runbook_url: .*/g)?.filter((line) => !line.includes(`${url}#`))).toEqual(
          [],
        );
      }
      const tested = await new Spawned('promtool', ['test', 'rules', 'headgate.rules.test.yaml'], {
        cwd: join(copy, 'deploy/prometheus'),
      }).ended();
      expect(tested.code).toBe(0);
    },
  );

  test('are the same for the Prometheus operator', () => {
    const forOperator = readTree('deploy/kubernetes/monitoring/prometheus-rule.yaml');
    expect(forOperator.get('spec').value).toEqual(rules.value);
  });
});

describe('the dashboard', () => {
  test('has one id per panel, no overlapping panels, and a description for each', () => {
    const panels = dashboard.get('panels').items();
    const ids = panels.map((panel) => panel.get('id').number());
    expect(new Set(ids).size).toBe(ids.length);
    const taken = new Set<string>();
    for (const panel of panels) {
      const [x, y, w, h] = ['x', 'y', 'w', 'h'].map((key) => panel.get('gridPos', key).number());
      for (let row = y ?? 0; row < (y ?? 0) + (h ?? 0); row++) {
        for (let column = x ?? 0; column < (x ?? 0) + (w ?? 0); column++) {
          expect(taken.has(`${column},${row}`)).toBe(false);
          taken.add(`${column},${row}`);
        }
      }
    }
    const shown = panels.filter((panel) => panel.get('type').text() !== 'row');
    for (const panel of shown) {
      expect(panel.get('description').text()).toMatch(/\.$/);
      expect(expressionsOf(panel).length).toBeGreaterThan(0);
    }
  });

  test('has expressions that Prometheus understands', { tags: needs('promtool') }, async () => {
    const expressions = dashboard.get('panels').items().flatMap(expressionsOf);
    expect(expressions.length).toBeGreaterThan(20);
    const recorded = expressions.map((expression, i) => ({
      record: `panel:${i}`,
      // As Grafana fills them in.
      expr: expression.replaceAll('$__rate_interval', '1m').replaceAll('$instance', '.*'),
    }));
    const folder = await mkdtemp(join(tmpdir(), 'headgate-dashboard-'));
    try {
      const file = join(folder, 'rules.json');
      await writeFile(file, JSON.stringify({ groups: [{ name: 'dashboard', rules: recorded }] }));
      const { code, output } = await promtool('check', 'rules', file);
      expect(output).toContain(`SUCCESS: ${expressions.length} rules found`);
      expect(code).toBe(0);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe('every metric that is queried', () => {
  let exposed: Set<string>;
  let stop: () => Promise<void>;

  beforeAll(async () => {
    const gateway = await startGatewayProcess({ upstream: 'http://127.0.0.1:9' });
    stop = () => gateway.stop();
    const { text } = await ask(`${gateway.adminUrl}/metrics`);
    const types = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)];
    exposed = new Set(
      types.flatMap(([, name = '', type]) =>
        type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
      ),
    );
  });
  afterAll(() => stop());

  test('by an alert exists', () => {
    const queried = alerts.flatMap((alert) => metricsIn(alert.get('expr').text()));
    expect(queried.filter((name) => !exposed.has(name))).toEqual([]);
    expect(queried.length).toBeGreaterThan(5);
  });

  test('by the dashboard exists, and the dashboard queries all of ours', () => {
    const queried = dashboard.get('panels').items().flatMap(expressionsOf).flatMap(metricsIn);
    expect(queried.filter((name) => !exposed.has(name))).toEqual([]);
    const ours = [...exposed].filter((name) => /^headgate_.*(?<!_sum|_count)$/.test(name));
    const shown = new Set(queried.map((name) => name.replace(/_(?:sum|count)$/, '_bucket')));
    expect(ours.filter((name) => !shown.has(name))).toEqual([]);
  });
});
