import { readFileSync, unwatchFile, watchFile } from 'node:fs';
import type { Log } from '../telemetry/log.ts';

/** The token that goes in for callers that send none, as it is now. */
export interface TokenSource {
  current(): string | undefined;
  close(): void;
}

export type TokenOptions =
  | { readonly kind: 'none' }
  | { readonly kind: 'value'; readonly value: string }
  | { readonly kind: 'file'; readonly path: string };

/** How often a token file is looked at; mounted secrets are swapped by a link, which this sees. */
const POLL_INTERVAL_MS = 1000;
const TOKEN = /^[\x21-\x7e]+$/;

/**
 * A token that is fixed, or read again whenever its file changes. A file that is unreadable or holds
 * no token leaves the last good one in place and is said in the log.
 */
export function makeTokenSource(options: TokenOptions, log: Log): TokenSource {
  if (options.kind === 'none') return { current: () => undefined, close: () => undefined };
  if (options.kind === 'value') return { current: () => options.value, close: () => undefined };
  const { path } = options;
  let token = readToken(path);
  const look = (): void => {
    try {
      token = readToken(path);
      log.info({ path }, 'token file re-read');
    } catch (err) {
      log.error({ path, err }, 'token file unusable: keeping the last token');
    }
  };
  watchFile(path, { interval: POLL_INTERVAL_MS, persistent: false }, look);
  return { current: () => token, close: () => unwatchFile(path, look) };
}

function readToken(path: string): string {
  const content = readFileSync(path, 'utf8').trim();
  if (!TOKEN.test(content)) {
    throw new Error(`expected one token in ${path}, got ${content.length} characters`);
  }
  return content;
}
