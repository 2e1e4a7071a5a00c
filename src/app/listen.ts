import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ListenAddress } from '../config/values.ts';

/** Resolves to the address at which it listens; rejects with what keeps it from it. */
export function listen(
  server: Server,
  { host, port }: ListenAddress,
  scheme: 'http' | 'https' = 'http',
): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      const address = server.address();
      const at =
        typeof address === 'object' && address !== null ? address : { address: host, port };
      resolve(`${scheme}://${authorityOf(at)}`);
    });
  });
}

function authorityOf({ address, port }: Pick<AddressInfo, 'address' | 'port'>): string {
  return `${address.includes(':') ? `[${address}]` : address}:${port}`;
}

/** Breaks what is open, and resolves when nothing is. */
export function closeServer(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}
