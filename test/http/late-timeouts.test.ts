import { describe, expect, onTestFinished, test } from 'vitest';
import { ask } from '../support/ask.ts';
import { startRawServer } from '../support/raw-socket.ts';
import { setUpGateway } from './setup.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const LATE = 'HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n';

/**
 * Starts a gateway to an API that answers the first request of each connection with `first`, and the
 * second with `second`, from its head. A connection ends behind a 408.
 */
async function setUpAnswers(first: string, second: string) {
  const requests: string[] = [];
  const api = await startRawServer((raw) => {
    let count = 0;
    raw.socket.on('data', (text: unknown) => {
      const [line = ''] = String(text).split(' HTTP/');
      if (!/^[A-Z]+ \//.test(line)) return;
      requests.push(line);
      const answer = count++ === 0 ? first : second;
      raw.write(answer);
      if (answer.includes('close')) raw.socket.end();
    });
  });
  onTestFinished(() => api.close());
  const gateway = await setUpGateway(api.url, { HEADGATE_BODY_LIMIT: '64KiB' });
  return { gateway, requests };
}

describe('a 408 that ends a connection which had been used crossed the request, so it is repeated', () => {
  test.each(['GET', 'DELETE'])('%s', async (method) => {
    const { gateway, requests } = await setUpAnswers(OK, LATE);
    await ask(`${gateway.url}/1`);
    const { status, text } = await ask(`${gateway.url}/2`, { method });
    expect({ status, text }).toEqual({ status: 200, text: 'ok' });
    expect(requests).toEqual(['GET /1', `${method} /2`, `${method} /2`]);
    const [failed] = await gateway.log.wait('attempt failed', 1);
    expect(failed).toMatchObject({ sent: 'unsent', reason: 'reset' });
  });
});

describe('a 408 is the answer', () => {
  test('to the first request of a connection', async () => {
    const { gateway, requests } = await setUpAnswers(LATE, LATE);
    expect((await ask(`${gateway.url}/1`)).status).toBe(408);
    expect(requests).toEqual(['GET /1']);
  });

  test('to a POST, which the API may have executed before it took too long', async () => {
    const { gateway, requests } = await setUpAnswers(OK, LATE);
    await ask(`${gateway.url}/1`);
    expect((await ask(`${gateway.url}/2`, { method: 'POST', body: 'body' })).status).toBe(408);
    expect(requests).toEqual(['GET /1', 'POST /2']);
  });

  test('if the connection stays open', async () => {
    const { gateway } = await setUpAnswers(OK, LATE.replace('close', 'keep-alive'));
    await ask(`${gateway.url}/1`);
    expect((await ask(`${gateway.url}/2`)).status).toBe(408);
  });

  test.each([16, 1_000_000])('to an upload of %i bytes, which may be too slow', async (size) => {
    const { gateway, requests } = await setUpAnswers(OK, LATE);
    await ask(`${gateway.url}/1`);
    const body = Buffer.alloc(size);
    expect((await ask(`${gateway.url}/2`, { method: 'PUT', body })).status).toBe(408);
    expect(requests).toEqual(['GET /1', 'PUT /2']);
  });
});
