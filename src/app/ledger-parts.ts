import type { RedisConfig } from '../config/redis.ts';
import type { ApiClock } from '../rate-headers/api-clock.ts';
import type { Random, Clock, EndOfTurn } from '../util/clock.ts';
import type { CredentialHash } from '../gateway/credentials.ts';
import type { Ledger, LedgerObserver, SocketPermits } from '../ledger/ledger.ts';
import type { Log } from '../telemetry/log.ts';

/** What a ledger is made of, in this process or shared. */
export interface LedgerParts {
  readonly redis: RedisConfig | undefined;
  /** Key of the bucket names; `undefined`: replicas agree on one, or it is random. */
  readonly secret: string | undefined;
  /** Read anew each time: these may change while it runs. */
  readonly live: () => {
    readonly maxQueue: number;
    readonly limit: { readonly limit: number; readonly periodMs: number } | undefined;
  };
  readonly clock: Clock;
  readonly atEndOfTurn: EndOfTurn;
  readonly random: Random;
  readonly apiClock: ApiClock;
  readonly places: SocketPermits;
  readonly log: Log;
  readonly observer: LedgerObserver;
}

export interface BuiltLedger {
  readonly ledger: Ledger;
  /** Names credentials in logs and in Redis: the same name at every replica. */
  readonly credentialHash: CredentialHash;
  close(): Promise<void>;
}
