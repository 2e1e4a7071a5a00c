import { expect, test } from 'vitest';
import { ask } from '../support/ask.ts';
import { openRaw } from '../support/raw-socket.ts';
import { setUp } from '../support/setup.ts';

const TOKEN = 'operators-only-0123456789';

test('the requests of one connection of the admin listener start one after the other', async () => {
  const { gateway } = await setUp({}, { settings: { HEADGATE_ADMIN_TOKEN: TOKEN } });
  const raw = await openRaw(gateway.adminUrl);
  const get = (path: string, token: string): string =>
    `GET ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${token}\r\n\r\n`;
  // An event stream does not end, so the requests behind it, each of which would count, do not start.
  raw.write(get('/events', TOKEN) + get('/config', 'wrong').repeat(100));
  await raw.until((text) => text.includes('event: snapshot'));
  const { text } = await ask(`${gateway.adminUrl}/metrics`);
  expect(text).toContain('headgate_auth_failures_total{listener="admin"} 0\n');
  raw.socket.destroy();
});
