import { messageOf } from '../util/message-of.ts';
import { caProblem } from './pem-files.ts';
import type { RedisAddress } from './redis-url.ts';
import { secret } from './values.ts';

/** The settings of the shared ledger, with the contents of the files that they name. */
export interface RedisConfig {
  readonly address: RedisAddress;
  readonly prefix: string;
  /** Milliseconds; a slower answer counts as an outage. */
  readonly timeoutMs: number;
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
}

export interface RedisSettings {
  readonly address: RedisAddress | undefined;
  readonly prefix: string;
  readonly timeoutMs: number;
  readonly caPath: string | undefined;
  readonly certPath: string | undefined;
  readonly keyPath: string | undefined;
  readonly authPath: string | undefined;
  readonly password: string | undefined;
}

/** Combines the settings and reads their files. Adds what is wrong to `problems`. */
export function redisConfig(
  settings: RedisSettings,
  readFile: (path: string) => string,
  problems: string[],
): RedisConfig | undefined {
  const { address, prefix, timeoutMs, caPath, certPath, keyPath, authPath, password } = settings;
  function read(variable: string, path: string | undefined): string | undefined {
    if (path === undefined) return undefined;
    try {
      return readFile(path);
    } catch (error) {
      const reason = messageOf(error);
      problems.push(`${variable}: expected a readable file, got: ${reason}`);
      return undefined;
    }
  }
  if ((certPath === undefined) !== (keyPath === undefined)) {
    const [missing, given] = certPath === undefined ? ['CERT', 'KEY'] : ['KEY', 'CERT'];
    problems.push(
      `HEADGATE_REDIS_${missing}: expected a file, because HEADGATE_REDIS_${given} is set; got nothing`,
    );
  }
  const ca = read('HEADGATE_REDIS_CA', caPath);
  const cert = read('HEADGATE_REDIS_CERT', certPath);
  const key = read('HEADGATE_REDIS_KEY', keyPath);
  const auth = read('HEADGATE_REDIS_AUTH_FILE', authPath);
  const wrongCa = ca === undefined ? undefined : caProblem(ca);
  if (wrongCa !== undefined) {
    problems.push(`HEADGATE_REDIS_CA: expected certificates in PEM, got: ${wrongCa}`);
  }
  if (address === undefined) return undefined;
  if ((ca ?? cert) !== undefined && !address.tls) {
    problems.push(
      'HEADGATE_REDIS_URL: expected rediss://, because TLS files are set; got a URL without TLS',
    );
  }
  if (auth !== undefined && address.password !== undefined) {
    problems.push(
      'HEADGATE_REDIS_AUTH_FILE: expected it without a password in HEADGATE_REDIS_URL, got both',
    );
  }
  if (password !== undefined && address.password !== undefined) {
    problems.push(
      'HEADGATE_REDIS_PASSWORD: expected it without a password in HEADGATE_REDIS_URL, got both',
    );
  }
  if (password !== undefined && authPath !== undefined) {
    problems.push(
      'HEADGATE_REDIS_PASSWORD: expected it without HEADGATE_REDIS_AUTH_FILE, got both',
    );
  }
  if (auth?.trim() === '') {
    problems.push(
      'HEADGATE_REDIS_AUTH_FILE: expected a file with user:password or a password, got an empty one',
    );
  }
  return {
    address: {
      ...address,
      ...(auth === undefined ? {} : loginFrom(auth)),
      ...(password === undefined ? {} : { password }),
    },
    prefix,
    timeoutMs,
    ca,
    cert,
    key,
  };
}

/** The key of the bucket names, from the setting or its file. */
export function readSecret(
  value: string | undefined,
  path: string | undefined,
  readFile: (path: string) => string,
  problems: string[],
): string | undefined {
  if (path === undefined) return value;
  if (value !== undefined) {
    problems.push('HEADGATE_SECRET_FILE: expected it without HEADGATE_SECRET, got both');
    return value;
  }
  try {
    const content = readFile(path).trim();
    if (secret.parse(content) !== undefined) return content;
    problems.push(
      `HEADGATE_SECRET_FILE: expected a file with ${secret.expected}, got ${content.length} characters that are not`,
    );
  } catch (error) {
    const reason = messageOf(error);
    problems.push(`HEADGATE_SECRET_FILE: expected a readable file, got: ${reason}`);
  }
  return undefined;
}

/** `user:password`, or a password alone, which is that of the URL's user. */
function loginFrom(text: string): Partial<Pick<RedisAddress, 'username' | 'password'>> {
  const line = text.trim();
  const colon = line.indexOf(':');
  if (colon <= 0) return { password: line.slice(colon + 1) };
  return { username: line.slice(0, colon), password: line.slice(colon + 1) };
}
