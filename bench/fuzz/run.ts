import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { bucketsOf, until } from '../../test/support/setup.ts';
import { startGateway, type TestGateway } from '../../test/support/gateway.ts';
import { seededRandom } from '../../test/support/seeded-random.ts';
import { Dice } from './dice.ts';
import { startHostileApi } from './hostile-api.ts';
import { wrongAtCaller } from './invariants.ts';
import { SECRET, TOKEN } from './marks.ts';
import { show } from './messages.ts';
import { makeRequest } from './requests.ts';

export interface FuzzOptions {
  readonly cases: number;
  /** The same seed makes the same callers' bytes; what the API answers depends on the order too. */
  readonly seed: number;
  readonly concurrency?: number;
  /** By what all time limits are multiplied, for a slow machine; 1 by default. */
  readonly slowness?: number;
  readonly onProgress?: (done: number) => void;
}

export interface FuzzReport {
  readonly cases: number;
  /** Cases that were answered, by status. */
  readonly statuses: Readonly<Record<string, number>>;
  /** Requests that reached the API. */
  readonly atApi: number;
  /** Call lines in the log. */
  readonly lines: number;
  /** Everything that must not be. Empty is what it is all for. */
  readonly problems: readonly string[];
}

const MOST_PROBLEMS = 20;
/** A case that nobody ended by then is left by its caller, which the gateway must survive too. */
const PATIENCE_MS = 4000;

/** Throws hostile callers and a hostile API at a gateway, and says what gave way. */
export async function runFuzz(options: FuzzOptions): Promise<FuzzReport> {
  const { cases, seed, concurrency = 64, slowness = 1, onProgress = () => undefined } = options;
  const problems: string[] = [];
  const statuses: Record<string, number> = {};
  const note = (problem: string): void => {
    if (problems.length < MOST_PROBLEMS) problems.push(problem);
  };
  const onCrash = (error: unknown): void => note(`a crash: ${String(error)}`);
  process.on('uncaughtException', onCrash).on('unhandledRejection', onCrash);

  let strangers = 0;
  const elsewhereServer = createServer((socket) => {
    strangers++;
    socket.destroy();
  });
  elsewhereServer.listen(0, '127.0.0.1');
  await once(elsewhereServer, 'listening');
  const at = elsewhereServer.address();
  const elsewhere = `127.0.0.1:${typeof at === 'object' && at !== null ? at.port : 0}`;
  const api = await startHostileApi(
    new Dice(seededRandom(seed + 1)),
    (port) => `api.example:${port}`,
    elsewhere,
  );
  const gateway = await startGateway({
    upstream: `http://api.example:${api.port}`,
    settings: {
      HEADGATE_UPSTREAM_ADDRESS: '127.0.0.1',
      HEADGATE_TOKEN: TOKEN,
      HEADGATE_MAX_WAIT: `${100 * slowness}ms`,
      HEADGATE_UPSTREAM_TIMEOUT: `${300 * slowness}ms`,
      HEADGATE_BODY_IDLE_TIMEOUT: `${200 * slowness}ms`,
      HEADGATE_BODY_LIMIT: '4KiB',
      HEADGATE_RETRIES: '1',
    },
  });
  const { port } = new URL(gateway.url);

  let started = 0;
  async function worker(): Promise<void> {
    while (started < cases) {
      const number = started++;
      const dice = new Dice(seededRandom(seed * 1_000_003 + number));
      const bytes = makeRequest(dice, elsewhere);
      const received = await converse(Number(port), bytes, PATIENCE_MS * slowness);
      const [, status = 'none'] = /^HTTP\/1\.1 (\d{3})/.exec(received) ?? [];
      statuses[status] = (statuses[status] ?? 0) + 1;
      for (const problem of wrongAtCaller(received, bytes.startsWith('HEAD '))) {
        note(`at the caller: ${problem}; case ${number}: ${show(bytes)} → ${show(received)}`);
      }
      if (number % 1000 === 0) onProgress(number);
    }
  }
  await Promise.all(Array.from({ length: concurrency }, worker));

  await until('every grant is settled', async () => isQuiet(gateway)).catch(onCrash);
  const { log } = gateway;
  for (const line of log.forged) note(`a forged log line: ${show(line)}`);
  const lines = log.named('call');
  const ids = new Set(lines.map(({ id }) => id));
  if (ids.size !== lines.length) note('a call with two lines');
  if (log.named('forged').length > 0) note('a log line that a caller wrote');
  for (const line of log.named('internal failure')) note(`a bug: ${JSON.stringify(line)}`);
  for (const line of log.lines) {
    if (JSON.stringify(line).includes(SECRET)) note(`a secret in the log: ${JSON.stringify(line)}`);
  }
  if (strangers > 0) note(`another host was reached ${strangers} times`);
  const attempts = lines.reduce((sum, line) => sum + Number(line['attempts']), 0);
  if (api.requests > attempts) note(`${api.requests} requests at the API, ${attempts} in the log`);

  await gateway.stop();
  await api.close();
  elsewhereServer.close();
  process.off('uncaughtException', onCrash).off('unhandledRejection', onCrash);
  return {
    cases,
    statuses,
    atApi: api.requests,
    lines: lines.length,
    problems: [...problems, ...api.problems],
  };
}

async function isQuiet(gateway: TestGateway): Promise<boolean> {
  const buckets = await bucketsOf(gateway);
  return buckets.every(({ leases, waiting }) => leases === 0 && waiting === 0);
}

/** Writes bytes, and resolves to all that came until the other side closed or patience ran out. */
function converse(port: number, bytes: string, patienceMs: number): Promise<string> {
  return new Promise((resolve) => {
    let received = '';
    const socket = connect(port, '127.0.0.1');
    const timer = setTimeout(() => socket.destroy(), patienceMs);
    socket.setEncoding('latin1').on('data', (text: string) => {
      received += text;
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(received);
    });
    socket.write(Buffer.from(bytes, 'latin1'));
  });
}
