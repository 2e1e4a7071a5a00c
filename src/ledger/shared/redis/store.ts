import { readFileSync } from 'node:fs';
import type { Result } from 'ioredis';
import { z } from 'zod';
import { connectRedis, renew, revive, type RedisConnectionOptions } from './connection.ts';
import { BucketTrouble } from '../bucket-trouble.ts';
import { bucketKeys, STEP_KEYS, stepScript } from '../script/step-script.ts';

declare module 'ioredis' {
  interface RedisCommander<Context> {
    headgateStep(...args: string[]): Result<unknown, Context>;
    headgatePresence(...args: string[]): Result<unknown, Context>;
    headgateLessons(...args: string[]): Result<unknown, Context>;
  }
}

/** The shared ledger's scripts and messages, on a single Redis, Sentinel or a cluster. */
export interface RedisStore {
  /** Runs one step; resolves to its reply as text. Rejects with {@link BucketTrouble} too. */
  step(bucketId: string, batch: string): Promise<unknown>;
  /** Announces this replica; `proposal` is the key that it proposes for bucket names, or ''. */
  presence(proposal: string): Promise<Presence>;
  /**
   * Stores lessons by what they are about, and returns all, if there is another revision than the one
   * that the replica knows.
   */
  lessons(
    revision: string,
    learned: readonly (readonly [string, string])[],
  ): Promise<StoredLessons>;
  /** Opens the connections again, which may lead to a server that was replaced. */
  renew(): void;
  close(): void;
}

/** The reply to an announcement. */
export interface Presence {
  readonly replicas: number;
  /** The key that the replicas agreed on; `undefined` when none was proposed. */
  readonly agreedKey: string | undefined;
}

/** The lessons in Redis; none if the replica knows their revision. */
export interface StoredLessons {
  readonly revision: string;
  /** As JSON, and how long ago each was stored. */
  readonly lessons: readonly { readonly text: string; readonly ageMs: number }[];
}

export interface RedisStoreOptions extends RedisConnectionOptions {
  readonly prefix: string;
  /** Unique among all replicas. */
  readonly replica: string;
  /** Receives what other replicas' steps publish for this one. */
  readonly onMessage: (text: string) => void;
}

/**
 * Errors which show that the data of a step's keys is not as expected: a key of another kind, a value
 * that is no number, or an error of Lua itself. An error that a command reported to the
 * script is no error of Lua; `@user_script:155` at its end only says where it was called.
 */
const CONCERNS_ONE_BUCKET = /\bWRONGTYPE\b|is not a valid float|(?<!@)user_script:\d+: /;

const lessonsReply = z.tuple([z.string()], z.string());
const presenceReply = z.tuple([z.number(), z.string()]);

/** Opens two connections, for scripts and for messages. Each reconnects by itself. */
export function openRedisStore(options: RedisStoreOptions): RedisStore {
  const { prefix, replica, onMessage, log } = options;
  const client = connectRedis(options);
  client.defineCommand('headgateStep', { numberOfKeys: STEP_KEYS, lua: stepScript() });
  const presenceLua = readFileSync(new URL('../script/presence.lua', import.meta.url), 'utf8');
  client.defineCommand('headgatePresence', { numberOfKeys: 2, lua: presenceLua });

  const lessonsLua = readFileSync(new URL('../script/lessons.lua', import.meta.url), 'utf8');
  client.defineCommand('headgateLessons', { numberOfKeys: 1, lua: lessonsLua });

  const channels = `${prefix}:replica:`;
  const subscriber = connectRedis(options);
  const listen = (): void => {
    subscriber.subscribe(channels + replica).catch((err: unknown) => {
      log.debug({ err }, 'redis subscription');
    });
  };
  subscriber.on('ready', listen);
  subscriber.on('message', (_channel: string, text: string) => onMessage(text));

  return {
    async step(bucketId, batch) {
      try {
        return await client.headgateStep(...bucketKeys(prefix, bucketId), batch, channels);
      } catch (cause) {
        if (!(cause instanceof Error) || !CONCERNS_ONE_BUCKET.test(cause.message)) throw cause;
        throw new BucketTrouble(cause.message, { cause });
      }
    },
    async presence(proposal) {
      for (const each of [client, subscriber]) revive(each, log);
      // By this the subscriber notices that its socket does not respond any more.
      subscriber.ping().catch((err: unknown) => log.debug({ err }, 'redis subscription'));
      const keys = [`${prefix}:{replicas}:seen`, `${prefix}:{replicas}:key`];
      const reply = await client.headgatePresence(...keys, replica, proposal);
      const [replicas, agreedKey] = presenceReply.parse(reply);
      return { replicas, agreedKey: agreedKey === '' ? undefined : agreedKey };
    },
    async lessons(known, learned) {
      const reply = await client.headgateLessons(`${prefix}:{lessons}`, known, ...learned.flat());
      const [revision, ...entries] = lessonsReply.parse(reply);
      const lessons = [];
      for (let i = 0; i + 1 < entries.length; i += 2) {
        lessons.push({ ageMs: Number(entries[i]), text: entries[i + 1] ?? '' });
      }
      return { revision, lessons };
    },
    renew() {
      for (const each of [client, subscriber]) renew(each);
    },
    close() {
      client.disconnect();
      subscriber.disconnect();
    },
  };
}
