import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ListenAddress } from '../config/values.ts';

/** Starts listening. Resolves to the URL of the listener; rejects with the error of `listen`. */
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
      const bound =
        typeof address === 'object' && address !== null ? address : { address: host, port };
      resolve(`${scheme}://${authorityOf(bound)}`);
    });
  });
}

function authorityOf({ address, port }: Pick<AddressInfo, 'address' | 'port'>): string {
  return `${address.includes(':') ? `[${address}]` : address}:${port}`;
}
