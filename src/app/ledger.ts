import { createHash, randomBytes } from 'node:crypto';
import { makeCredentialHash, type CredentialHash } from '../gateway/identify/credentials.ts';
import type { BucketBounds } from '../ledger/bucket-map.ts';
import type { BucketOptions, Ledger, LedgerObserver, SocketPermits } from '../ledger/ledger.ts';
import { LocalLedger, type LocalLedgerOptions } from '../ledger/local/local-ledger.ts';
import type { LearnedDraws } from '../draws/learned-draws.ts';
import { statedShares, type CallerRule, type StatedShares } from '../queue/caller-rules.ts';
import type { ApiClock } from '../rate-headers/api-clock.ts';
import type { Log } from '../telemetry/log.ts';
import type { Random, Clock, EndOfTurn } from '../util/clock.ts';

/** What a ledger is made of, whether local or shared. */
export interface LedgerParts {
  /** Key of the bucket names. `undefined`: the key is random, and replicas agree on one. */
  readonly secret: string | undefined;
  /** The settings in force. They are read for each use, because a reload changes them. */
  readonly currentConfig: () => {
    readonly maxQueue: number;
    readonly maxBuckets: number;
    readonly maxBucketsPerOwner: number | undefined;
    readonly limit: { readonly limit: number; readonly periodMs: number } | undefined;
    readonly spread: number;
    readonly callers: readonly CallerRule[];
  };
  readonly clock: Clock;
  readonly atEndOfTurn: EndOfTurn;
  readonly random: Random;
  readonly apiClock: ApiClock;
  readonly socketPermits: SocketPermits;
  readonly log: Log;
  readonly observer: LedgerObserver;
  /** What was learned of the API's buckets, which replicas share. */
  readonly learned: LearnedDraws;
}

/** A ledger in use, and how to end it. */
export interface BuiltLedger {
  readonly ledger: Ledger;
  /** Names credentials in logs and in Redis: the same name at every replica. */
  readonly credentialHash: CredentialHash;
  /** Whether Redis has always refused this replica, which must then receive no calls. */
  readonly isMisconfigured?: () => boolean;
  close(): Promise<void>;
}

/** Constructs the ledger that keeps all buckets in this process. */
export function makeLocalLedger(parts: LedgerParts): BuiltLedger {
  const ledger = newLocalLedger(parts, parts.socketPermits);
  const credentialHash = makeCredentialHash(bucketNameKey(parts.secret));
  return { ledger, credentialHash, close: () => ledger.close() };
}

/** The local ledger itself. As a stand-in for the shared one, it spends a share of each budget. */
export function newLocalLedger(
  parts: LedgerParts,
  socketPermits: SocketPermits,
  standIn?: LocalLedgerOptions['standIn'],
): LocalLedger {
  return new LocalLedger(Object.assign(bucketOptions(parts, socketPermits), { standIn }));
}

/**
 * The options that both kinds of ledger share. Its getters read the settings in force: extend it with
 * `Object.assign`, because a spread would copy their values.
 */
export function bucketOptions(
  { clock, random, apiClock, currentConfig }: LedgerParts,
  socketPermits: SocketPermits,
): BucketOptions & BucketBounds {
  let rules: readonly CallerRule[] = [];
  let shares: StatedShares | undefined;
  /** The same object until the rules change. */
  const sharesNow = (): StatedShares | undefined => {
    const { callers } = currentConfig();
    if (callers !== rules) shares = statedShares(callers);
    rules = callers;
    return shares;
  };
  return {
    clock,
    random,
    apiClock,
    socketPermits,
    get maxQueue() {
      return currentConfig().maxQueue;
    },
    get maxBuckets() {
      return currentConfig().maxBuckets;
    },
    get maxBucketsPerOwner() {
      return currentConfig().maxBucketsPerOwner;
    },
    get configuredLimit() {
      return currentConfig().limit;
    },
    get spread() {
      // What is stated for single callers is no part of what is kept for all.
      return currentConfig().spread * (1 - (sharesNow()?.total ?? 0));
    },
    get shares() {
      return sharesNow();
    },
  };
}

/** The key with which credentials are hashed into bucket names. */
export function bucketNameKey(secret: string | undefined): Buffer {
  return secret === undefined ? randomBytes(32) : createHash('sha256').update(secret).digest();
}
