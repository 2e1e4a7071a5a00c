import { mkdirSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { measureFaults } from './scenarios/faults.ts';
import { measureLedger } from './scenarios/ledger.ts';
import { measureOpen } from './scenarios/open.ts';
import { measureOutage } from './scenarios/outage.ts';
import { measurePrefetch } from './scenarios/prefetch.ts';
import { measureProxies } from './scenarios/proxies.ts';
import { measureQueue } from './scenarios/queue.ts';
import { measureReplicas } from './scenarios/replicas.ts';
import { measureStart } from './scenarios/start.ts';
import { measureSteps } from './scenarios/steps.ts';
import { reached, tableOf, type Figure } from './support/figures.ts';
import { versions } from './support/versions.ts';

interface Scenario {
  /** Whether the quick mode, of under a minute, has it. */
  readonly quick: boolean;
  readonly run: (quick: boolean) => Promise<Figure[]>;
}

const SCENARIOS: Readonly<Record<string, Scenario>> = {
  proxies: {
    quick: true,
    run: (quick) =>
      measureProxies({
        rounds: quick ? 1 : 5,
        seconds: quick ? 2 : 5,
        warmUpSeconds: quick ? 0 : 2,
        few: quick,
      }),
  },
  open: { quick: false, run: () => measureOpen({ rounds: 3, seconds: 3 }) },
  ledger: { quick: true, run: (quick) => measureLedger({ rounds: quick ? 3 : 7 }) },
  start: { quick: true, run: () => measureStart() },
  steps: {
    quick: true,
    run: (quick) => measureSteps({ buckets: quick ? 10_000 : 100_000 }),
  },
  queue: { quick: false, run: () => measureQueue() },
  prefetch: { quick: false, run: () => measurePrefetch() },
  faults: { quick: false, run: () => measureFaults() },
  outage: { quick: false, run: () => measureOutage() },
  replicas: { quick: false, run: () => measureReplicas({ windows: 6 }) },
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: 'boolean', default: false } },
});
const wanted = Object.keys(SCENARIOS).filter((name) => !values.quick || SCENARIOS[name]?.quick);
const names = positionals.length > 0 ? positionals : wanted;
const figures: Figure[] = [];
for (const name of names) {
  const scenario = SCENARIOS[name];
  if (scenario === undefined) {
    console.error(`expected one of ${Object.keys(SCENARIOS).join(', ')}, got ${name}`);
    process.exit(2);
  }
  console.log(`\n${name} …`);
  const measured = await scenario.run(values.quick).catch((error: unknown): never => {
    // A port that another process took, or a tool that is missing: the stack would hide the reason.
    console.error(`bench: ${name}: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(1);
  });
  figures.push(...measured);
  console.log(tableOf(values.quick ? measured.filter(({ goal }) => goal !== undefined) : measured));
}
if (!values.quick) {
  const folder = new URL('results/', import.meta.url);
  mkdirSync(folder, { recursive: true });
  const day = new Date().toISOString().slice(0, 10);
  const what = positionals.length > 0 ? `-${names.join('-')}` : '';
  const path = new URL(`${day}${what}.json`, folder);
  writeFileSync(path, `${JSON.stringify({ versions: versions(), figures }, null, 2)}\n`);
  console.log(`\nwritten to ${path.pathname}`);
}
process.exitCode = figures.every(reached) ? 0 : 1;
