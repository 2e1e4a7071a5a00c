import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import type { Dice } from './dice.ts';
import { wrongAtApi } from './invariants.ts';
import { readMessage, show } from './messages.ts';
import { makeReply } from './replies.ts';

export interface HostileApi {
  readonly port: number;
  /** Requests that came whole. */
  readonly requests: number;
  /** What came that must not come. */
  readonly problems: readonly string[];
  close(): Promise<void>;
}

/** Problems beyond this many are the same ones again. */
const MOST_PROBLEMS = 20;

/** An API that answers as it likes, and reads what it is sent by the letter. */
export async function startHostileApi(
  dice: Dice,
  host: (port: number) => string,
  elsewhere: string,
): Promise<HostileApi> {
  const problems: string[] = [];
  const sockets = new Set<Socket>();
  let requests = 0;
  let port = 0;

  function serve(socket: Socket): void {
    let unread = '';
    let busy = false;
    const note = (problem: string): void => {
      if (problems.length < MOST_PROBLEMS) problems.push(`at the API: ${problem}`);
      socket.destroy();
    };
    const next = (): void => {
      if (unread === '' || busy) return;
      const read = readMessage(unread, () => false);
      if (read.kind === 'unfinished') return;
      if (read.kind === 'wrong') return note(read.why);
      requests++;
      unread = read.rest;
      for (const problem of wrongAtApi(read.message, host(port))) note(problem);
      // The gateway does not pipeline: what follows at once was smuggled.
      if (unread !== '') return note(`bytes behind a request: ${show(unread)}`);
      busy = true;
      const method = read.message.startLine.split(' ', 1)[0] ?? '';
      const { bytes, closes } = makeReply(dice, method, elsewhere);
      socket.write(Buffer.from(bytes, 'latin1'), () => {
        busy = false;
        if (closes) socket.end();
        else next();
      });
    };
    socket.setEncoding('latin1').on('data', (text: string) => {
      unread += text;
      next();
    });
  }

  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    serve(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the API has no port');
  port = address.port;
  return {
    port,
    get requests() {
      return requests;
    },
    problems,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
