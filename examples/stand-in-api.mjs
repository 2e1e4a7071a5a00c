// Stands in for a rate-limited API, so that the examples run without a token: ten requests in each
// window of ten seconds, reported in rate headers. PORT=0 picks a free port.

import { createServer } from 'node:http';

const LIMIT = 10;
const WINDOW_MS = 10_000;
let remaining = LIMIT;
let resetAt = 0;

const server = createServer((request, response) => {
  if (Date.now() >= resetAt) {
    remaining = LIMIT;
    resetAt = Date.now() + WINDOW_MS;
  }
  const accepted = remaining > 0;
  if (accepted) remaining--;
  response.writeHead(accepted ? 200 : 429, {
    'content-type': 'application/json',
    'x-ratelimit-limit': LIMIT,
    'x-ratelimit-remaining': remaining,
    'x-ratelimit-reset': new Date(resetAt).toISOString(),
  });
  response.end(JSON.stringify({ path: request.url, accept: request.headers.accept }));
});

server.listen(process.env.PORT ?? 9000, () => {
  console.log(`The stand-in for the API listens on port ${server.address().port}`);
});
process.on('SIGTERM', () => process.exit(0));
