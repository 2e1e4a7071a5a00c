import { createCipheriv, createDecipheriv, randomBytes, scrypt } from 'node:crypto';
import { promisify } from 'node:util';
import type { Clock } from '../../../util/clock.ts';
import { inTime } from '../in-time.ts';
import { connectRedis, type RedisClient, type RedisConnectionOptions } from './connection.ts';

export interface TokenVaultOptions extends RedisConnectionOptions {
  readonly prefix: string;
  /** What the replicas know and Redis does not: the key of the encryption is made from it. */
  readonly secret: string;
  readonly clock: Clock;
}

interface StoredToken {
  readonly token: string;
  readonly validMs: number | undefined;
}

/** How long one replica has the right to fetch a token. */
const CLAIM_MS = 30_000;
const CONNECT_MS = 5000;
/** If the API does not say how long a token is valid, replicas that start within this time share it. */
const UNKNOWN_VALIDITY_MS = 3_600_000;
const CIPHER = 'aes-256-gcm';
const SALT_BYTES = 16;
const IV_BYTES = 12;
const TAG_BYTES = 16;
const deriveKey = promisify<string, Buffer, number, Buffer>(scrypt);

/**
 * Keeps the token of a fleet in Redis, encrypted. A reader of Redis would have to guess the secret,
 * and scrypt makes each guess slow. What another secret has encrypted counts as no token.
 *
 * It is used once in hours, so that each use has a connection of its own.
 */
export function makeTokenVault(options: TokenVaultOptions): {
  read(): Promise<StoredToken | undefined>;
  write(token: StoredToken): Promise<void>;
  claim(): Promise<boolean>;
} {
  const { prefix, secret } = options;
  const keys = { token: `${prefix}:{token}:value`, claim: `${prefix}:{token}:claim` };
  return {
    async read() {
      const [sealed, remainingMs] = await connected(options, async (client) => [
        await client.get(keys.token),
        await client.pttl(keys.token),
      ]);
      const stored = sealed === null ? undefined : await unseal(sealed, secret);
      if (stored === undefined || remainingMs <= 0) return undefined;
      const { token, isValidityKnown } = stored;
      return { token, validMs: isValidityKnown ? remainingMs : undefined };
    },
    async write({ token, validMs }) {
      const sealed = await seal({ token, isValidityKnown: validMs !== undefined }, secret);
      const lifetimeMs = Math.max(1, Math.floor(validMs ?? UNKNOWN_VALIDITY_MS));
      await connected(options, (client) => client.set(keys.token, sealed, 'PX', lifetimeMs));
    },
    async claim() {
      const reply = await connected(options, (client) =>
        client.set(keys.claim, '1', 'PX', CLAIM_MS, 'NX'),
      );
      return reply === 'OK';
    },
  };
}

/** Runs `use` with a connection, which is then closed. */
async function connected<T>(
  options: TokenVaultOptions,
  use: (client: RedisClient) => Promise<T>,
): Promise<T> {
  const client = connectRedis(options);
  try {
    const ready = new Promise<void>((resolve) => void client.once('ready', resolve));
    await inTime(ready, CONNECT_MS, options.clock);
    return await inTime(use(client), CONNECT_MS, options.clock);
  } finally {
    client.disconnect();
  }
}

interface Sealed {
  readonly token: string;
  readonly isValidityKnown: boolean;
}

async function seal({ token, isValidityKnown }: Sealed, secret: string): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv(CIPHER, await deriveKey(secret, salt, 32), iv);
  const text = `${isValidityKnown ? 'known' : 'unknown'} ${token}`;
  const sealed = [cipher.update(text, 'utf8'), cipher.final()];
  return Buffer.concat([salt, iv, cipher.getAuthTag(), ...sealed]).toString('base64');
}

async function unseal(text: string, secret: string): Promise<Sealed | undefined> {
  const bytes = Buffer.from(text, 'base64');
  const salt = bytes.subarray(0, SALT_BYTES);
  const iv = bytes.subarray(SALT_BYTES, SALT_BYTES + IV_BYTES);
  const dataAt = SALT_BYTES + IV_BYTES + TAG_BYTES;
  if (bytes.length <= dataAt) return undefined;
  const decipher = createDecipheriv(CIPHER, await deriveKey(secret, salt, 32), iv, {
    authTagLength: TAG_BYTES,
  });
  decipher.setAuthTag(bytes.subarray(SALT_BYTES + IV_BYTES, dataAt));
  try {
    const parts = [decipher.update(bytes.subarray(dataAt)), decipher.final()];
    const [validity, token = ''] = Buffer.concat(parts).toString('utf8').split(' ', 2);
    return token === '' ? undefined : { token, isValidityKnown: validity === 'known' };
  } catch {
    // Another secret encrypted it, or it was changed.
    return undefined;
  }
}
