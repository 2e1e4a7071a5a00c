import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';

/**
 * A free port below those that the system chooses by itself. So no other process gets it by chance
 * while a test has stopped the server there, and it can be started there again.
 */
export async function keptPort(): Promise<number> {
  for (;;) {
    const port = randomInt(10_000, firstChosenPort());
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false)).once('listening', () => resolve(true));
      server.listen(port, '127.0.0.1');
    });
    if (!isFree) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}

/** The first port that the system chooses for a socket without one. */
function firstChosenPort(): number {
  try {
    const range = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8');
    return Math.max(20_000, Number.parseInt(range, 10));
  } catch {
    return 32_768;
  }
}
