import { startAzion } from '../test/support/azion.ts';

/**
 * The API's simulator alone, to try a gateway against without a token: it takes any, and has the
 * recorded limits. `npm run simulator -- 8090` puts it on another port.
 */

const [text = '8090'] = process.argv.slice(2);
const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
if (port <= 65_535) {
  const azion = await startAzion({ port, latencyMs: () => 20 + Math.random() * 60 });
  process.stdout.write(`The API's simulator listens on ${azion.url}. A gateway in front of it:

  HEADGATE_UPSTREAM_URL=${azion.url} npm start

Ctrl-C ends it.
`);
  const close = (): void => void azion.close();
  process.once('SIGINT', close);
  process.once('SIGTERM', close);
} else {
  process.stderr.write(`simulator: expected a port from 0 to 65535, got ${text}\n`);
  process.exitCode = 2;
}
