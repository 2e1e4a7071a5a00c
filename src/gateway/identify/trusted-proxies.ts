import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';
import { plainAddress } from '../connections/caller-address.ts';
import type { Peers } from '../connections/peers.ts';
import {
  forwardedClients,
  hasForwarded,
  hasForwardedClients,
  readForwarded,
  type Forwarded,
  type Network,
} from '../../http/caller-origin.ts';

/** Whether the forwarded fields of a connection from an address are believed. */
export type IsTrustedProxy = (address: string | undefined) => boolean;

/** What a trusted proxy reports about a request; `undefined` if none sent it. */
export type ForwardedBy = (incoming: IncomingMessage) => Forwarded | undefined;

/** The address of the caller of a request. */
export type CallerAddress = (incoming: IncomingMessage) => string;

export function makeIsTrustedProxy(networks: readonly Network[]): IsTrustedProxy {
  const trusted = new BlockList();
  if (networks.length === 0) return () => false;
  for (const { address, prefix, family } of networks) trusted.addSubnet(address, prefix, family);
  return (address) => {
    const family = address === undefined ? 0 : isIP(address);
    return family !== 0 && trusted.check(address ?? '', family === 4 ? 'ipv4' : 'ipv6');
  };
}

/** A client that a proxy names by the PROXY protocol sends its own fields, which are not believed. */
export function makeForwardedBy(peers: Peers, isTrusted: IsTrustedProxy): ForwardedBy {
  return ({ headers, socket }) =>
    hasForwarded(headers) && isTrusted(peers.of(socket)) ? readForwarded(headers) : undefined;
}

/**
 * Makes the function that finds the caller behind trusted proxies: the last address in
 * `X-Forwarded-For`, or else in `Forwarded`, that is no trusted proxy itself. Addresses before it are
 * what that caller sent, and are not believed.
 */
export function makeCallerAddress(peers: Peers, isTrusted: IsTrustedProxy): CallerAddress {
  return ({ headers, socket }) => {
    let address = peers.of(socket);
    if (!hasForwardedClients(headers) || !isTrusted(address)) return address;
    const clients = forwardedClients(headers);
    for (let i = clients.length - 1; i >= 0 && isTrusted(address); i--) {
      const client = clients[i];
      // A hidden name, or none: the proxy in front of it is all that is known.
      if (client === undefined) break;
      address = plainAddress(client);
    }
    return address;
  };
}
