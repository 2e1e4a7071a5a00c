import { lstatSync, unlinkSync } from 'node:fs';
import type { Server } from 'node:http';
import { connect } from 'node:net';
import { isSocketPath, textOfAddress, type ListenAddress } from '../config/values.ts';
import { authorityOf } from '../http/authority.ts';

/**
 * Starts listening. Resolves to the URL of the listener, or to `unix:` and the path of its socket;
 * rejects with the error of `listen`.
 */
export async function listen(
  server: Server,
  address: ListenAddress,
  scheme: 'http' | 'https' = 'http',
): Promise<string> {
  if (isSocketPath(address)) await removeStaleSocket(address.path);
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    const where = isSocketPath(address) ? { path: address.path } : address;
    server.listen({ ...where }, () => {
      server.off('error', reject);
      if (isSocketPath(address)) return resolve(textOfAddress(address));
      const bound = server.address();
      const isKnown = typeof bound === 'object' && bound !== null;
      const { host, port } = isKnown ? { host: bound.address, port: bound.port } : address;
      resolve(`${scheme}://${authorityOf(host, port)}`);
    });
  });
}

/**
 * Removes the socket of a process that was killed, which nothing listens on any more. Otherwise the
 * gateway could not start again. A file that is no socket, and a socket in use, stay.
 */
async function removeStaleSocket(path: string): Promise<void> {
  if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() !== true) return;
  const code = await new Promise<string | undefined>((resolve) => {
    const probe = connect({ path });
    probe.once('connect', () => {
      probe.destroy();
      resolve(undefined);
    });
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code));
  });
  if (code === 'ECONNREFUSED') unlinkSync(path);
}
