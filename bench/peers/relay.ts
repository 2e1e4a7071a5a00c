import { connect, createServer } from 'node:net';

/** The least that anything in Node costs that stands in between: it passes on bytes, and reads none. */
const [, , upstream = '', port = ''] = process.argv;
const api = new URL(upstream);

createServer({ noDelay: true }, (caller) => {
  const onward = connect({ host: api.hostname, port: Number(api.port), noDelay: true });
  for (const [from, to] of [
    [caller, onward],
    [onward, caller],
  ] as const) {
    from.on('data', (chunk) => void to.write(chunk));
    from.on('error', () => to.destroy());
    from.on('close', () => to.destroy());
  }
}).listen(Number(port), '127.0.0.1');

process.once('SIGTERM', () => process.exit());
