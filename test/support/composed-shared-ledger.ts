import type { LedgerMode } from '../../src/ledger/ledger.ts';
import type { BuiltLedger } from '../../src/app/ledger.ts';
import { makeSharedLedger } from '../../src/app/shared-ledger.ts';
import { ApiClock } from '../../src/rate-headers/api-clock.ts';
import type { Clock } from '../../src/util/clock.ts';
import { makeLog } from '../../src/telemetry/log.ts';
import { CapturedLog } from './captured-log.ts';
import { FakePermits } from './ledger-driver.ts';
import type { RedisServer } from './redis-server.ts';
import { seededRandom } from './seeded-random.ts';

export interface ComposedSharedLedger extends BuiltLedger {
  readonly log: CapturedLog;
  readonly permits: FakePermits;
  /** The modes of the ledger so far, the newest last. */
  readonly modes: readonly LedgerMode[];
}

/** The failover ledger on this server, as the program composes it. Its keys begin with `h`. */
export async function composeSharedLedgerOn(
  redis: RedisServer,
  { clock, timeoutMs }: { readonly clock: Clock; readonly timeoutMs: number },
): Promise<ComposedSharedLedger> {
  const log = new CapturedLog();
  const permits = new FakePermits(10);
  const modes: LedgerMode[] = [];
  const composed = await makeSharedLedger(
    {
      atEndOfTurn: (run) => run(),
      secret: undefined,
      currentConfig: () => ({
        maxQueue: 10,
        maxBuckets: 100,
        maxBucketsPerOwner: undefined,
        limit: { limit: 5, periodMs: 60_000 },
      }),
      clock,
      random: seededRandom(1),
      apiClock: new ApiClock(),
      socketPermits: permits,
      log: makeLog({ level: 'debug', replica: 'r', clock, destination: log }),
      observer: { step: () => undefined, mode: (mode) => void modes.push(mode) },
    },
    {
      address: {
        topology: { kind: 'single', at: { host: '127.0.0.1', port: redis.port } },
        db: 0,
        tls: false,
        username: undefined,
        password: undefined,
      },
      prefix: 'h',
      timeoutMs,
      ca: undefined,
      cert: undefined,
      key: undefined,
    },
  );
  return { ...composed, log, permits, modes };
}
