import type { Socket } from 'node:net';

/** The address of a caller, `unknown` once its connection has closed. */
export function addressOf({ remoteAddress = 'unknown' }: Socket): string {
  return plainAddress(remoteAddress);
}

/** Removes the IPv6 prefix of an IPv4 address. */
export function plainAddress(address: string): string {
  return address.startsWith('::ffff:') ? address.slice('::ffff:'.length) : address;
}
