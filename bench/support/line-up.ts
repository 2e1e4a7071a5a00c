import { scratch } from './processes.ts';
import { startRedis, startUpstream, type Server } from './servers.ts';

/** The API and Redis, and a way to start what stands beside them. */
export interface LineUp {
  readonly folder: string;
  readonly upstream: Server;
  readonly redisUrl: string;
  /** Keeps a server that is starting, so that it is stopped with the rest. */
  readonly up: (starting: Promise<Server>) => Promise<Server>;
}

/** Starts the API and Redis, runs, and stops all that was started, the last first. */
export async function withLineUp<T>(run: (lineUp: LineUp) => Promise<T>): Promise<T> {
  const folder = scratch();
  const open: Server[] = [];
  const up = async (starting: Promise<Server>): Promise<Server> => {
    const server = await starting;
    open.push(server);
    return server;
  };
  try {
    const upstream = await up(startUpstream(folder.path));
    const redis = await up(startRedis(folder.path));
    const redisUrl = redis.url.replace('http:', 'redis:');
    return await run({ folder: folder.path, upstream, redisUrl, up });
  } finally {
    for (const server of open.toReversed()) await server.stop();
    folder.remove();
  }
}
