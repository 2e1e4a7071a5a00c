import { readFileSync, unwatchFile, watchFile } from 'node:fs';
import type { Log } from '../telemetry/log.ts';

/** The current token that is added to requests without a credential. */
export interface TokenSource {
  current(): string | undefined;
  close(): void;
}

export type TokenOptions =
  | { readonly kind: 'none' }
  | { readonly kind: 'value'; readonly value: string }
  | { readonly kind: 'file'; readonly path: string };

/**
 * How often a token file is checked. Polling also notices mounted secrets, which replace a link.
 */
const POLL_INTERVAL_MS = 1000;
const TOKEN = /^[\x21-\x7e]+$/;

/**
 * Makes a token that is fixed, or is read again whenever its file changes. When the file is
 * unreadable or has no token, the last token stays in use and the log has an error.
 */
export function makeTokenSource(options: TokenOptions, log: Log): TokenSource {
  if (options.kind === 'none') return { current: () => undefined, close: () => undefined };
  if (options.kind === 'value') return { current: () => options.value, close: () => undefined };
  const { path } = options;
  let token = readToken(path);
  const reload = (): void => {
    try {
      token = readToken(path);
      log.info({ path }, 'token file re-read');
    } catch (err) {
      log.error({ path, err }, 'token file unusable: keeping the last token');
    }
  };
  watchFile(path, { interval: POLL_INTERVAL_MS, persistent: false }, reload);
  return { current: () => token, close: () => unwatchFile(path, reload) };
}

function readToken(path: string): string {
  const content = readFileSync(path, 'utf8').trim();
  if (!TOKEN.test(content)) {
    throw new Error(`expected one token in ${path}, got ${content.length} characters`);
  }
  return content;
}
