import { SETTINGS } from '../config/settings.ts';
import type { Log } from '../telemetry/log.ts';
import { makeTokenSource, type TokenOptions, type TokenSource } from '../upstream/token.ts';

/** The token of operators, which a reload may replace. */
export class AdminToken {
  readonly #log: Log;
  #source: TokenSource;

  constructor(options: TokenOptions, log: Log) {
    this.#log = log;
    this.#source = this.#open(options);
  }

  current(): string | undefined {
    return this.#source.current();
  }

  /** Throws if there is no such token; the last one then stays. */
  replace(options: TokenOptions): void {
    const next = this.#open(options);
    this.#source.close();
    this.#source = next;
  }

  close(): void {
    this.#source.close();
  }

  #open(options: TokenOptions): TokenSource {
    return makeTokenSource(options, SETTINGS.adminToken.kind, this.#log);
  }
}
