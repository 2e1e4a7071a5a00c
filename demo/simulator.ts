import { startAzion } from '../test/support/azion.ts';

/**
 * Starts the API's simulator alone, for trying a gateway without a token. It accepts any token, and
 * enforces the API's recorded limits. `npm run simulator -- 8090` chooses the port.
 */

const [text = '8090'] = process.argv.slice(2);
const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
if (port <= 65_535) {
  const azion = await startAzion({ port, latencyMs: () => 20 + Math.random() * 60 });
  process.stdout
    .write(`The API's simulator listens on ${azion.url}. To start a gateway in front of it:

  HEADGATE_UPSTREAM_URL=${azion.url} npm start

Press Ctrl-C to stop.
`);
  const close = (): void => void azion.close();
  process.once('SIGINT', close);
  process.once('SIGTERM', close);
} else {
  process.stderr.write(`simulator: expected a port from 0 to 65535, got ${text}\n`);
  process.exitCode = 2;
}
