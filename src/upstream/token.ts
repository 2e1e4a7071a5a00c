import { readFileSync } from 'node:fs';
import type { Log } from '../telemetry/log.ts';
import { watchPath } from './watched-file.ts';

/** The current value of a configured token. */
export interface TokenSource {
  current(): string | undefined;
  /** The API answered 401 to a request with this token, so it is renewed if that is possible. */
  refused(token: string): void;
  /** Renews the token now, if that is possible, because an operator asks for it. */
  renew(): void;
  close(): void;
}

/** A token that is known, or can be read at once. */
export type TokenOptions =
  | { readonly kind: 'none' }
  | { readonly kind: 'value'; readonly value: string }
  | { readonly kind: 'file'; readonly path: string };

/** What a valid token is: `expected` in words; `parse` returns `undefined` for any other text. */
export interface TokenFormat {
  readonly expected: string;
  readonly parse: (text: string) => string | undefined;
}

/** A token that nothing can renew. */
const FIXED = { refused: () => undefined, renew: () => undefined, close: () => undefined };

/**
 * Makes a token that is fixed, or is read again whenever its file changes. When the file is
 * unreadable or has no token, the last token stays in use and the log has an error. Throws when
 * there is no last token because the first reading failed.
 */
export function makeTokenSource(
  options: TokenOptions,
  format: TokenFormat,
  log: Pick<Log, 'info' | 'error'>,
): TokenSource {
  if (options.kind === 'none') return { ...FIXED, current: () => undefined };
  if (options.kind === 'value') return { ...FIXED, current: () => options.value };
  const { path } = options;
  let token = readToken(path, format);
  const reload = (): void => {
    try {
      token = readToken(path, format);
      log.info({ path }, 'token file re-read');
    } catch (err) {
      log.error({ path, err }, 'token file unusable: keeping the last token');
    }
  };
  return { ...FIXED, current: () => token, close: watchPath(path, reload) };
}

function readToken(path: string, { expected, parse }: TokenFormat): string {
  const content = readFileSync(path, 'utf8').trim();
  const token = parse(content);
  if (token !== undefined) return token;
  throw new Error(
    `expected a token of ${expected} in ${path}, got ${content.length} characters that are not`,
  );
}
