import { describe, expect, onTestFinished, test } from 'vitest';
import { ask } from '../support/ask.ts';
import { openRaw, startRawServer, type RawSocket } from '../support/raw-socket.ts';
import { until } from '../support/setup.ts';
import { setUpGateway } from './setup.ts';

const HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n';
const GET = 'GET /a HTTP/1.1\r\nHost: a\r\n\r\n';

/** Starts a gateway to an API that writes `first` for each request; the connections stay open. */
async function setUpBytes(first: string) {
  const connections: RawSocket[] = [];
  const api = await startRawServer((raw) => {
    connections.push(raw);
    raw.socket.once('data', () => raw.write(first));
  });
  onTestFinished(() => api.close());
  const gateway = await setUpGateway(api.url, { HEADGATE_RETRIES: '0' });
  return { gateway, connections };
}

describe("an answer's head arrives before the first byte of its body", () => {
  test.each([
    ['of unknown length', 'Transfer-Encoding: chunked\r\n\r\n', '2\r\nhi\r\n0\r\n\r\n', 'hi'],
    ['with a length', 'Content-Length: 2\r\n\r\n', 'hi', 'hi'],
    ['that ends with its connection', 'Connection: close\r\n\r\n', 'hi', 'hi'],
  ])('if it is %s', async (_name, fields, body, received) => {
    const { gateway, connections } = await setUpBytes(HEAD + fields);
    const raw = await openRaw(gateway.url);
    raw.write(GET);
    const head = await raw.until((text) => text.includes('\r\n\r\n'));
    expect(head).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\n$/);
    connections[0]?.write(body);
    if (fields.startsWith('Connection')) connections[0]?.socket.end();
    await raw.until((text) => text.includes(received, head.length));
    raw.socket.destroy();
  });

  test('also for HTTP/1.0', async () => {
    const { gateway } = await setUpBytes(`${HEAD}Transfer-Encoding: chunked\r\n\r\n`);
    const raw = await openRaw(gateway.url);
    raw.write('GET /a HTTP/1.0\r\n\r\n');
    expect(await raw.until((text) => text.endsWith('\r\n\r\n'))).toContain('HTTP/1.1 200 OK');
    raw.socket.destroy();
  });
});

describe('the status of a call is the one that its caller received', () => {
  test('when the answer breaks off behind its head', async () => {
    const { gateway, connections } = await setUpBytes(`${HEAD}Content-Length: 5\r\n\r\n`);
    const raw = await openRaw(gateway.url);
    raw.write(GET);
    await raw.until((text) => text.endsWith('\r\n\r\n'));
    connections[0]?.socket.destroy();
    await raw.end();
    const [line] = await gateway.log.wait('call', 1);
    expect(raw.received).toMatch(/^HTTP\/1\.1 200 /);
    expect(line).toMatchObject({ status: 200, outcome: 'failed', bytesOut: 0 });
  });

  test('when the answer breaks off in the turn in which its head arrives', async () => {
    const { gateway } = await setUpBytes(
      `${HEAD}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nnot a chunk\r\n`,
    );
    const { status, headers } = await ask(`${gateway.url}/a`);
    expect([status, headers['headgate-error']]).toEqual([502, 'upstream-protocol']);
    const [line] = await gateway.log.wait('call', 1);
    expect(line).toMatchObject({ status: 502, outcome: 'failed', code: 'upstream-protocol' });
  });

  test('and 0 if the caller disconnects before', async () => {
    const { gateway, connections } = await setUpBytes('');
    const raw = await openRaw(gateway.url);
    raw.write(GET);
    await until('the API has the request', () => (connections[0]?.received ?? '') !== '');
    raw.socket.destroy();
    const [line] = await gateway.log.wait('call', 1);
    expect(line).toMatchObject({ status: 0, outcome: 'aborted' });
  });
});
