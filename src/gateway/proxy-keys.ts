import type { IncomingMessage } from 'node:http';

/** The keys that callers sent to the proxy, for the requests behind them. */
export class ProxyKeys {
  readonly #keys = new WeakMap<object, string>();

  /** Notes the key of one request, or of all requests that a socket will bring. */
  note(of: IncomingMessage | IncomingMessage['socket'], key: string): void {
    this.#keys.set(of, key);
  }

  keyOf(incoming: IncomingMessage): string | undefined {
    return this.#keys.get(incoming) ?? this.#keys.get(incoming.socket);
  }
}
