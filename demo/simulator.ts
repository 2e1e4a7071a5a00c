import { startAzion } from '../test/support/azion.ts';

/**
 * Starts the API's simulator alone, for trying a gateway without a token. It accepts any token, and
 * enforces the API's recorded limits. `npm run simulator -- 8090` chooses the port.
 */

const [text = '8090'] = process.argv.slice(2);
const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
if (port <= 65_535) {
  try {
    await simulate(port);
  } catch (error) {
    const { code, message }: NodeJS.ErrnoException =
      error instanceof Error ? error : new Error(String(error));
    const reason =
      code === 'EADDRINUSE'
        ? `expected a free port, got ${port}, which another process uses (${code})`
        : message;
    process.stderr.write(`simulator: ${reason}\n`);
    process.exitCode = 1;
  }
} else {
  process.stderr.write(`simulator: expected a port from 0 to 65535, got ${text}\n`);
  process.exitCode = 2;
}

async function simulate(at: number): Promise<void> {
  const azion = await startAzion({ port: at, latencyMs: () => 20 + Math.random() * 60 });
  // npm forwards a signal that its terminal has sent to both, so there may be a second one.
  const onStop = (): void => void azion.close();
  process.on('SIGINT', onStop);
  process.on('SIGTERM', onStop);
  process.stdout
    .write(`The API's simulator listens on ${azion.url}. To start a gateway in front of it:

  HEADGATE_UPSTREAM_URL=${azion.url} npm start

or, in front of version 4 of the API:

  HEADGATE_UPSTREAM_URL=${azion.url}/v4 HEADGATE_PRESET=azion-v4 npm start

Press Ctrl-C to stop.
`);
}
