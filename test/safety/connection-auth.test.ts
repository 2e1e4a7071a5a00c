import { expect, onTestFinished, test } from 'vitest';
import { setUpGateway } from '../http/setup.ts';
import { ask } from '../support/ask.ts';
import { startRawServer, type RawServer } from '../support/raw-socket.ts';

const ANSWER = 'HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok';

/** Starts an API that answers every request and never closes a connection itself. */
async function startKeepingApi(): Promise<RawServer> {
  const api = await startRawServer((raw) => {
    raw.socket.on('data', () => raw.write(ANSWER));
  });
  onTestFinished(() => api.close());
  return api;
}

/** The connections over which the API received requests, each with the paths of its requests. */
function pathsByConnection({ connections }: RawServer): string[][] {
  return connections.map(({ received }) =>
    [...received.matchAll(/^GET (\S+) HTTP/gm)].map(([, path = '']) => path),
  );
}

test.each(['NTLM TlRMTVNTUAADAAAA', 'Negotiate YIIFAw==', 'negotiate YIIFAw=='])(
  'a connection that a caller authenticates with %j serves no other caller',
  async (authorization) => {
    const api = await startKeepingApi();
    const gateway = await setUpGateway(api.url, { HEADGATE_UPSTREAM_CONNECTIONS: '1' });
    const first = await ask(`${gateway.url}/first`, { headers: { authorization } });
    const second = await ask(`${gateway.url}/second`, { from: '127.0.0.2' });
    expect([first.status, second.status]).toEqual([200, 200]);
    expect(pathsByConnection(api)).toEqual([['/first'], ['/second']]);
    expect(await api.connections[0]?.end()).toBe('end');
  },
);

test('callers with other credentials share a connection', async () => {
  const api = await startKeepingApi();
  const gateway = await setUpGateway(api.url, { HEADGATE_UPSTREAM_CONNECTIONS: '1' });
  for (const authorization of ['token a', 'Basic Yjpj', 'Bearer ntlm']) {
    expect((await ask(`${gateway.url}/a`, { headers: { authorization } })).status).toBe(200);
  }
  expect(pathsByConnection(api)).toEqual([['/a', '/a', '/a']]);
});
