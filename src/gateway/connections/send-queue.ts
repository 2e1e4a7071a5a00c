import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { endianness } from 'node:os';
import type { Clock } from '../../util/clock.ts';
import { plainAddress } from './caller-address.ts';

/** Which connection is meant: its two addresses and ports. */
export type ConnectionNames = Pick<
  Socket,
  'localAddress' | 'localPort' | 'remoteAddress' | 'remotePort' | 'localFamily'
>;

/**
 * Resolves to how many bytes of a connection wait in the operating system until the other side
 * acknowledges them; `undefined` where the system does not report it.
 */
export type SendQueue = (connection: ConnectionNames) => Promise<number | undefined>;

/** Reads a table of connections; resolves to `undefined` if the system has none. */
export type ReadTable = (path: string) => Promise<string | undefined>;

const TABLE_FRESH_MS = 1000;

/**
 * Makes the function that reads the send queues of connections. Linux alone reports them to every
 * process, in `/proc/net/tcp`. Node has no call for it, and its own figures stand still for long:
 * the kernel takes further bytes only when a third of its buffer is free, which may be a megabyte.
 *
 * The table has a line for each connection of the host, so it is read at most once a second.
 */
export function makeSendQueue(clock: Clock, read: ReadTable = readTable): SendQueue {
  const tables = new Map<string, Promise<string | undefined>>();

  function table(path: string): Promise<string | undefined> {
    let text = tables.get(path);
    if (text === undefined) {
      text = read(path);
      tables.set(path, text);
      clock.after(TABLE_FRESH_MS, () => tables.delete(path));
    }
    return text;
  }

  return async (connection) => {
    const { localAddress, localPort, remoteAddress, remotePort } = connection;
    if (localAddress === undefined || remoteAddress === undefined) return undefined;
    const path = connection.localFamily === 'IPv6' ? '/proc/net/tcp6' : '/proc/net/tcp';
    const text = await table(path);
    const local = nameOf(localAddress, localPort ?? 0, path);
    return queueIn(text ?? '', `: ${local} ${nameOf(remoteAddress, remotePort ?? 0, path)} `);
  };
}

function readTable(path: string): Promise<string | undefined> {
  return readFile(path, 'latin1').catch(() => undefined);
}

/** The `tx_queue` in the line of a connection, in hexadecimal digits after the state. */
function queueIn(table: string, connection: string): number | undefined {
  const at = table.indexOf(connection);
  if (at === -1) return undefined;
  const [, queued] = table.slice(at + connection.length, at + connection.length + 40).split(/[ :]/);
  const bytes = Number.parseInt(queued ?? '', 16);
  return Number.isNaN(bytes) ? undefined : bytes;
}

/** An address and a port as the table shows them: each 32 bits in the order of the host. */
function nameOf(address: string, port: number, path: string): string {
  const bytes = path.endsWith('6') ? ipv6Bytes(address) : ipv4Bytes(address);
  let hex = '';
  for (let word = 0; word < bytes.length; word += 4) {
    const four = bytes.slice(word, word + 4);
    if (endianness() === 'LE') four.reverse();
    for (const byte of four) hex += byte.toString(16).padStart(2, '0');
  }
  return `${hex}:${port.toString(16).padStart(4, '0')}`.toUpperCase();
}

function ipv4Bytes(address: string): number[] {
  return plainAddress(address).split('.').map(Number);
}

function ipv6Bytes(address: string): number[] {
  const [withoutZone = ''] = address.split('%');
  const [head = '', tail] = withoutZone.split('::');
  const before = groupBytes(head);
  if (tail === undefined) return before;
  const after = groupBytes(tail);
  return [
    ...before,
    ...Array.from({ length: 16 - before.length - after.length }, () => 0),
    ...after,
  ];
}

function groupBytes(groups: string): number[] {
  if (groups === '') return [];
  return groups.split(':').flatMap((group) => {
    if (group.includes('.')) return ipv4Bytes(group);
    const value = Number.parseInt(group, 16);
    return [value >> 8, value & 0xff];
  });
}
