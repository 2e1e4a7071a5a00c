import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';
import {
  hasForwarded,
  readForwarded,
  type Forwarded,
  type Network,
} from '../http/caller-origin.ts';

/** Whether the forwarded fields of a connection from an address are believed. */
export type IsTrustedProxy = (address: string | undefined) => boolean;

/** What a trusted proxy reports about a request; `undefined` if none sent it. */
export type ForwardedBy = (incoming: IncomingMessage) => Forwarded | undefined;

export function makeIsTrustedProxy(networks: readonly Network[]): IsTrustedProxy {
  const trusted = new BlockList();
  for (const { address, prefix, family } of networks) trusted.addSubnet(address, prefix, family);
  return (address) => {
    const family = address === undefined ? 0 : isIP(address);
    return family !== 0 && trusted.check(address ?? '', family === 4 ? 'ipv4' : 'ipv6');
  };
}

export function makeForwardedBy(networks: readonly Network[]): ForwardedBy {
  if (networks.length === 0) return () => undefined;
  const isTrusted = makeIsTrustedProxy(networks);
  return ({ headers, socket }) =>
    hasForwarded(headers) && isTrusted(socket.remoteAddress) ? readForwarded(headers) : undefined;
}
