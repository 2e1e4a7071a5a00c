import { z } from 'zod';
import { startApp } from '../src/app/app.ts';
import { loadConfig } from '../src/config/config.ts';
import { systemRandom, systemClock } from '../src/util/system-clock.ts';
import { makeLog } from '../src/telemetry/log.ts';
import { startAzion } from '../test/support/azion.ts';

/** The part of `GET /buckets` that the demo reads. */
const bucketView = z.object({
  limit: z.number().optional(),
  remaining: z.number().optional(),
  resetInMs: z.number().optional(),
  leases: z.number(),
  waiting: z.number(),
});
const bucketsAnswer = z.object({ buckets: z.array(bucketView) });

export type BucketView = z.output<typeof bucketView>;

/** The API's simulator and a gateway in front of it, both on free ports. */
export interface Stage {
  readonly gatewayUrl: string;
  /** The number of 429s that the API sent. The gateway passes none of them to callers. */
  readonly throttledByApi: number;
  /** The number of call lines that the gateway logged. */
  readonly callLines: number;
  /** The latest call line. */
  readonly lastCallLine: string;
  /** The budget that the gateway's admin listener reports; `undefined` before the first call. */
  bucket(): Promise<BucketView | undefined>;
  close(): Promise<void>;
}

export interface Budget {
  readonly limit: number;
  readonly periodMs: number;
}

/** Starts both. The gateway is composed as `npm start` composes it, but its log is read here. */
export async function setStage(budget: Budget): Promise<Stage> {
  const azion = await startAzion({
    semantics: 'fixed',
    limits: { read: budget },
    latencyMs: () => 20 + Math.random() * 60,
  });
  const loaded = loadConfig({
    env: {
      HEADGATE_UPSTREAM_URL: azion.url,
      HEADGATE_LISTEN: '127.0.0.1:0',
      HEADGATE_ADMIN_LISTEN: '127.0.0.1:0',
      HEADGATE_MAX_WAIT: '15m',
      HEADGATE_DRAIN_TIMEOUT: '1s',
    },
    readFile: (path) => {
      throw new Error(`the demo reads no file, got ${path}`);
    },
  });
  if (loaded.kind === 'bad') throw new Error(loaded.problems.join('\n'));
  let callLines = 0;
  let lastCallLine = '';
  const destination = {
    write(line: string): void {
      if (!line.includes('"msg":"call"')) return;
      callLines++;
      lastCallLine = line.trimEnd();
    },
  };
  const gateway = await startApp({
    settings: loaded,
    clock: systemClock,
    random: systemRandom,
    log: makeLog({ level: 'info', replica: 'demo', clock: systemClock, destination }),
    replica: 'demo',
  });
  return {
    gatewayUrl: gateway.url,
    get throttledByApi() {
      return azion.throttled;
    },
    get callLines() {
      return callLines;
    },
    get lastCallLine() {
      return lastCallLine;
    },
    async bucket() {
      const response = await fetch(`${gateway.adminUrl}/buckets`);
      return bucketsAnswer.parse(await response.json()).buckets[0];
    },
    async close() {
      await gateway.stop();
      await azion.close();
    },
  };
}
