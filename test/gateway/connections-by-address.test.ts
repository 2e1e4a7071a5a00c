import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  ConnectionsByAddress,
  type Connection,
} from '../../src/gateway/connections/connections-by-address.ts';

/** No socket is used: the list only keeps it. */
function connectionOf(address: string): Connection {
  return Object.assign(Object.create(null), {
    address,
    carrier: undefined,
    isLinked: false,
    previous: undefined,
    next: undefined,
  });
}

test('the address that has most is known after each change', () => {
  const steps = fc.array(fc.record({ name: fc.constantFrom('a', 'b', 'c'), adds: fc.boolean() }));
  fc.assert(
    fc.property(steps, (changes) => {
      const connections = new ConnectionsByAddress();
      const open = new Map<string, Connection[]>();
      for (const { name, adds } of changes) {
        const its = open.get(name) ?? [];
        open.set(name, its);
        if (adds) {
          const connection = connectionOf(name);
          its.push(connection);
          connections.add(connection);
        } else {
          const gone = its.shift();
          if (gone !== undefined) connections.delete(gone);
        }
        const counts = [...open.values()].map(({ length }) => length);
        expect(connections.most).toBe(Math.max(...counts));
        expect(connections.countOf(name)).toBe(its.length);
        const oldest = connections.oldestIdle(() => true);
        const firsts = [...open.values()].filter(({ length }) => length === connections.most);
        expect(firsts.map(([first]) => first)).toContain(oldest);
      }
    }),
  );
});

test('busy connections are passed over, sixteen at a time', () => {
  const connections = new ConnectionsByAddress();
  const all = Array.from({ length: 40 }, () => connectionOf('a'));
  for (const connection of all) connections.add(connection);
  let looks = 0;
  const isLast = (connection: Connection): boolean => {
    looks++;
    return connection === all[39];
  };
  expect(connections.oldestIdle(isLast)).toBeUndefined();
  expect(looks).toBe(16);
  expect(connections.oldestIdle(isLast)).toBeUndefined();
  expect(connections.oldestIdle(isLast)).toBe(all[39]);
});

test('a connection that is removed twice counts once, and idle addresses are forgotten', () => {
  const connections = new ConnectionsByAddress();
  const stays = connectionOf('stays');
  connections.add(stays);
  for (let i = 0; i < 5000; i++) {
    const connection = connectionOf(`a${i}`);
    connections.add(connection);
    connections.delete(connection);
    connections.delete(connection);
  }
  expect(connections.addresses).toBeLessThanOrEqual(1002);
  expect(connections.most).toBe(1);
  expect(connections.oldestIdle(() => true)).toBe(stays);
});
