import type { Socket } from 'node:net';

/** The address of a caller, `unknown` once its connection has closed. */
export function addressOf({ remoteAddress = 'unknown' }: Socket): string {
  return plainAddress(remoteAddress);
}

/**
 * What both sockets of a TLS connection have in common; nothing else relates one to the other. The
 * port of the listener is a part of it: a client may use one of its ports for several listeners.
 */
export function connectionKey(socket: Socket): string {
  const { remotePort = 0, localPort = 0 } = socket;
  return `${addressOf(socket)} ${remotePort} ${localPort}`;
}

/** Removes the IPv6 prefix of an IPv4 address. */
export function plainAddress(address: string): string {
  return address.startsWith('::ffff:') ? address.slice('::ffff:'.length) : address;
}
