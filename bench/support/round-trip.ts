import { Redis } from 'ioredis';
import { median } from './statistics.ts';

const TRIPS = 3000;

/** Milliseconds of one round trip to a Redis server from a process like ours: a PING and its answer. */
export async function roundTripMs(url: string): Promise<number> {
  const client = new Redis(url);
  const took: number[] = [];
  for (let trip = 0; trip < TRIPS; trip++) {
    const startedAt = performance.now();
    await client.ping();
    took.push(performance.now() - startedAt);
  }
  client.disconnect();
  return median(took);
}
