// @module-tag needs-promtool
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { ask } from '../support/ask.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { setUp } from '../support/setup.ts';
import { ROOT, Spawned } from '../support/spawned.ts';

/**
 * The alerts on series that a gateway wrote: Prometheus' own evaluation of two scrapes, between
 * which something happened, and which then repeats for 40 minutes.
 */

/** The samples of a scrape by series, with the label that Prometheus adds. */
async function scrape(gateway: TestGateway): Promise<Map<string, number>> {
  const { text } = await ask(`${gateway.adminUrl}/metrics`);
  const samples = [...text.matchAll(/^(headgate_\w+)(?:\{(.*)\})? (\S+)$/gm)];
  return new Map(
    samples.map(([, name, labels, value]) => [
      `${name}{${labels === undefined ? '' : `${labels},`}instance="a"}`,
      Number(value),
    ]),
  );
}

/** The alerts that fire after what happened between two scrapes has happened each minute. */
async function firing(
  before: ReadonlyMap<string, number>,
  after: ReadonlyMap<string, number>,
  expected: readonly string[],
): Promise<string> {
  const series = [...after].map(([name, value]) => {
    const step = /_(?:total|bucket|sum|count)\{/.test(name) ? value - (before.get(name) ?? 0) : 0;
    return { series: name, values: `${value}+${step}x40` };
  });
  const rulesTest = {
    rule_files: [`${ROOT}deploy/prometheus/headgate.rules.yaml`],
    evaluation_interval: '1m',
    tests: [
      {
        interval: '1m',
        input_series: series,
        promql_expr_test: [
          {
            expr: 'group by (alertname) (ALERTS{alertstate="firing"})',
            eval_time: '35m',
            exp_samples: expected.map((name) => ({ labels: `{alertname="${name}"}`, value: 1 })),
          },
        ],
      },
    ],
  };
  const folder = await mkdtemp(join(tmpdir(), 'headgate-alerts-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const file = join(folder, 'recorded.test.json');
  await writeFile(file, JSON.stringify(rulesTest));
  const { stdout, stderr } = await new Spawned('promtool', ['test', 'rules', file]).ended();
  return stdout + stderr;
}

function call({ url }: TestGateway): ReturnType<typeof ask> {
  return ask(`${url}/domains`, { headers: { authorization: 'token any' } });
}

test('an API that refuses connections: the calls that fail, and why', async () => {
  const gateway = await startGateway({ settings: { HEADGATE_RETRIES: '0' } });
  onTestFinished(() => gateway.stop());
  const before = await scrape(gateway);
  for (let n = 0; n < 10; n++) await call(gateway);
  await gateway.log.wait('call', 10);
  const after = await scrape(gateway);
  const expected = ['HeadgateApiUnreachable', 'HeadgateCallsFailing'];
  expect(await firing(before, after, expected)).toContain('SUCCESS');
});

test('an API that is called at its full pace, with nothing left at any scrape: no alert', async () => {
  const clock = new FakeClock();
  const limits = { read: { limit: 5, periodMs: 60_000 } };
  const { gateway } = await setUp({ limits }, { clock });
  const spendAll = async (): Promise<void> => {
    for (let n = 0; n < 5; n++) await call(gateway);
  };
  await spendAll();
  await gateway.log.wait('call', 5);
  const before = await scrape(gateway);
  clock.advance(61_000);
  await spendAll();
  await gateway.log.wait('call', 10);
  const after = await scrape(gateway);
  for (const samples of [before, after]) {
    const remaining = [...samples].find(([name]) => name.startsWith('headgate_bucket_remaining{'));
    expect(remaining?.[1]).toBe(0);
  }
  expect(await firing(before, after, [])).toContain('SUCCESS');
});

test('a budget that is used up until tomorrow: exhausted, and calls are shed', async () => {
  const clock = new FakeClock();
  const limits = { read: { limit: 5, periodMs: 86_400_000 } };
  const { gateway } = await setUp({ limits }, { clock });
  for (let n = 0; n < 5; n++) await call(gateway);
  await gateway.log.wait('call', 5);
  const before = await scrape(gateway);
  for (let n = 0; n < 10; n++) {
    const { status } = await call(gateway);
    expect(status).toBe(503);
  }
  await gateway.log.wait('call', 15);
  const after = await scrape(gateway);
  const expected = ['HeadgateBudgetExhausted', 'HeadgateShedding'];
  expect(await firing(before, after, expected)).toContain('SUCCESS');
});
