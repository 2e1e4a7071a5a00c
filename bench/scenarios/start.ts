import { createServer } from 'node:http';
import { makeClient } from '../support/headgate-client.ts';
import type { Figure } from '../support/figures.ts';
import { startHeadgate } from '../support/servers.ts';
import { median } from '../support/statistics.ts';

const ROUNDS = 5;

/** From the start of the process until the first call is answered. */
export async function measureStart(): Promise<Figure[]> {
  const api = createServer((_incoming, outgoing) => {
    outgoing.end('{}');
  });
  const port = await new Promise<number>((resolve) => {
    api.listen(0, '127.0.0.1', () => {
      const address = api.address();
      resolve(typeof address === 'object' && address !== null ? address.port : 0);
    });
  });
  const client = makeClient();
  const took: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const startedAt = performance.now();
    const gateway = await startHeadgate('headgate', `http://127.0.0.1:${port}`);
    await client.call(`${gateway.url}/`);
    took.push(performance.now() - startedAt);
    await gateway.stop();
  }
  client.close();
  api.closeAllConnections();
  api.close();
  return [
    {
      what: 'start to the first answered request',
      value: median(took),
      unit: ' ms',
      goal: { at: 'most', bound: 400 },
    },
  ];
}
