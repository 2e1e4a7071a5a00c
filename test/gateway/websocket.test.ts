import { expect, test } from 'vitest';
import { ask } from '../support/ask.ts';
import { exchangeRaw } from '../support/raw-socket.ts';
import { setUp } from '../support/setup.ts';

test('a request to open a WebSocket is refused before the API sees it; an offer of h2c is not', async () => {
  const { azion, gateway } = await setUp();
  const raw = await exchangeRaw(
    gateway.url,
    'GET /domains HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\nHeadgate-Caller: chat\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  );
  expect(raw).toMatch(/^HTTP\/1\.1 501 /);
  expect(raw).toMatch(/^headgate-error: websocket-not-supported\r$/im);
  expect(azion.seen).toEqual([]);
  expect(await gateway.log.first('call')).toMatchObject({
    status: 501,
    outcome: 'failed',
    caller: 'chat',
  });
  const offer = await ask(`${gateway.url}/domains`, {
    headers: {
      authorization: 'token x',
      connection: 'Upgrade, HTTP2-Settings',
      upgrade: 'h2c',
      'http2-settings': 'AAMAAABk',
    },
  });
  expect(offer.status).toBe(200);
});
