import type { IncomingMessage } from 'node:http';
import type { AuthThrottle } from '../../http/auth-throttle.ts';
import { readProxyKey } from '../../http/proxy-connect.ts';
import type { CallerOfKey } from '../identify/credentials.ts';
import type { Peers } from '../connections/peers.ts';
import { GatewayError } from '../problem.ts';

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

export interface ProxyKeyDependencies {
  /** Finds callers by their keys; returns `undefined` when callers need none. */
  readonly callerOfKey: () => CallerOfKey | undefined;
  readonly proxyKeys: ProxyKeys;
  readonly authThrottle: AuthThrottle;
  readonly peers: Peers;
}

/**
 * Returns why the sender of a request to the proxy is refused: it has no key of a known caller.
 * `undefined` if it has one, or needs none. For an unknown key it may be a promise, which delays clients
 * that try keys. With `isCall`, the key is noted for the pipeline, which finds the caller by it.
 */
export type ProxyKeyProblem = (
  incoming: IncomingMessage,
  isCall: boolean,
) => GatewayError | Promise<GatewayError> | undefined;

const KEY_EXPECTED =
  'expected Proxy-Authorization: Basic with the key of a caller as its password, got none';
const KEY_UNKNOWN = 'the key in Proxy-Authorization is not that of a known caller';

export function makeProxyKeyProblem(dependencies: ProxyKeyDependencies): ProxyKeyProblem {
  const { callerOfKey, proxyKeys, authThrottle, peers } = dependencies;

  return (incoming, isCall) => {
    const known = callerOfKey();
    if (known === undefined) return undefined;
    const { headers, socket } = incoming;
    const key = readProxyKey(headers['proxy-authorization']);
    if (key === undefined) return new GatewayError('proxy-key-required', KEY_EXPECTED);
    if (known(key) !== undefined) {
      if (isCall) proxyKeys.note(incoming, key);
      return undefined;
    }
    const failure = authThrottle.fail(peers.of(socket), (listener) => {
      socket.once('close', listener);
      return () => socket.off('close', listener);
    });
    if (failure.kind === 'too-many') {
      const { retryAfterMs } = failure;
      const why =
        'the key in Proxy-Authorization is unknown, as were many others from this address';
      return new GatewayError('too-many-unknown-keys', why, { retryAfterMs });
    }
    const problem = new GatewayError('proxy-key-required', KEY_UNKNOWN);
    return failure.kind === 'delayed' ? failure.over.then(() => problem) : problem;
  };
}
