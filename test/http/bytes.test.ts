import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { request, type IncomingMessage } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { describe, expect, onTestFinished, test } from 'vitest';
import { startApi } from '../support/api.ts';
import { ask } from '../support/ask.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { startGatewayProcess } from '../support/gateway-process.ts';
import { exchangeRaw, openRaw, startRawServer } from '../support/raw-socket.ts';
import { until } from '../support/setup.ts';
import { setUpGateway, ok, setUpApi } from './setup.ts';

describe('an answer passes byte for byte', () => {
  const noise = randomBytes(100_000);
  const bodies: [string, number, Record<string, string>, Buffer][] = [
    ['gzip', 200, { 'content-encoding': 'gzip' }, gzipSync(noise)],
    ['br', 200, { 'content-encoding': 'br' }, brotliCompressSync(noise)],
    ['an unknown coding', 200, { 'content-encoding': 'x-own' }, noise],
    ['207', 207, {}, Buffer.from('[{"status":"HTTP/1.1 403 FORBIDDEN"}]')],
    ['an error', 422, {}, Buffer.from('{"errors":["\u00e9"]}')],
    ['none', 200, {}, Buffer.alloc(0)],
  ];

  test.each(bodies)('%s', async (_name, status, headers, body) => {
    for (const framing of ['content-length', 'chunked']) {
      const { gateway } = await setUpApi(
        (_incoming, outgoing) => {
          outgoing.writeHead(status, {
            'content-type': 'application/json',
            ...headers,
            ...(framing === 'chunked'
              ? { 'transfer-encoding': 'chunked' }
              : { 'content-length': String(body.length) }),
          });
          outgoing.end(body);
        },
        {},
        // On this clock, the gateway holds the head of an answer for as long as its body takes.
        { clock: new FakeClock() },
      );
      const answer = await ask(`${gateway.url}/a`);
      expect(answer.status).toBe(status);
      expect(answer.complete).toBe(true);
      expect(answer.body.equals(body)).toBe(true);
      expect(answer.headers['content-encoding']).toBe(headers['content-encoding']);
    }
  });

  test.each([204, 304])('%d has no body, and the connection stays open', async (status) => {
    const { gateway } = await setUpApi((_incoming, outgoing) => {
      outgoing.writeHead(status, { etag: '"a"' }).end();
    });
    const raw = await openRaw(gateway.url);
    for (const count of [2, 3]) {
      raw.write('GET /a HTTP/1.1\r\nHost: a\r\n\r\n');
      await raw.until((text) => text.split(`HTTP/1.1 ${status}`).length === count);
      expect(raw.received.endsWith('\r\n\r\n')).toBe(true);
    }
    expect(raw.received.toLowerCase()).not.toContain('transfer-encoding');
    raw.socket.destroy();
  });

  test('204 has no Content-Length, even if the API sends one (RFC 9110 §8.6)', async () => {
    const { gateway } = await setUpApi((_incoming, outgoing) => {
      outgoing.writeHead(204, { 'content-length': '0', etag: '"a"' }).end();
    });
    const { status, headers } = await ask(`${gateway.url}/a`);
    expect(status).toBe(204);
    expect(headers).toMatchObject({ etag: '"a"' });
    expect(headers).not.toHaveProperty('content-length');
  });

  test('HEAD has the Content-Length of a GET, and no body', async () => {
    const { gateway } = await setUpApi((_incoming, outgoing) => {
      outgoing.writeHead(200, { 'content-length': '12345', 'content-type': 'text/plain' });
      outgoing.end();
    });
    const raw = await openRaw(gateway.url);
    raw.write('HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n');
    await raw.until((text) => text.includes('\r\n\r\n'));
    expect(raw.received).toContain('12345');
    raw.write('HEAD /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
    await raw.end();
    expect(raw.received.split('HTTP/1.1 200')).toHaveLength(3);
    expect(raw.received.endsWith('\r\n\r\n')).toBe(true);
  });

  test('with repeated headers, in their case, with any bytes', async () => {
    const api = await startRawServer((raw) => {
      void raw
        .until((text) => text.includes('\r\n\r\n'))
        .then(() =>
          raw.write(
            'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\n' +
              'X-MiXeD: caf\xe9\r\nX-Empty:\r\nVary: a\r\nVary: b\r\n\r\nok',
          ),
        );
    });
    try {
      const gateway = await setUpGateway(api.url);
      const raw = await openRaw(gateway.url);
      raw.write('GET /a HTTP/1.1\r\nHost: a\r\nX-Caller: na\xefve\r\nX-R: 1\r\nX-R: 2\r\n\r\n');
      await raw.until((text) => text.endsWith('ok'));
      expect(raw.received).toContain(
        'Set-Cookie: a=1\r\nset-cookie: b=2\r\nX-MiXeD: caf\xe9\r\nX-Empty: \r\nVary: a\r\nVary: b\r\n',
      );
      expect(api.connections[0]?.received).toContain('X-Caller: na\xefve\r\nX-R: 1\r\nX-R: 2\r\n');
      raw.socket.destroy();
    } finally {
      await api.close();
    }
  });

  test('with trailers', async () => {
    const { gateway } = await setUpApi((_incoming, outgoing) => {
      outgoing.writeHead(200, { trailer: 'X-Sum' });
      outgoing.write('half');
      outgoing.addTrailers({ 'X-Sum': 'abc' });
      outgoing.end('half');
    });
    const { text, trailers, complete } = await ask(`${gateway.url}/a`);
    expect({ text, complete }).toEqual({ text: 'halfhalf', complete: true });
    expect(trailers).toEqual({ 'x-sum': 'abc' });
  });

  test('with trailers, of which those of the connection and those of Headgate are dropped', async () => {
    const { gateway } = await setUpApi(
      (_incoming, outgoing) => {
        outgoing.write('half');
        outgoing.addTrailers([
          ['X-Sum', 'abc'],
          ['Headgate-Error', 'queue-full'],
          ['Proxy-Authenticate', 'Basic'],
          ['Set-Cookie', 'session=of-the-token'],
        ]);
        outgoing.end('half');
      },
      { HEADGATE_TOKEN: 'secret-token' },
    );
    const { text, trailers } = await ask(`${gateway.url}/a`);
    expect({ text, trailers }).toEqual({ text: 'halfhalf', trailers: { 'x-sum': 'abc' } });
    const own = await ask(`${gateway.url}/a`, { headers: { authorization: 'token mine' } });
    expect(own.trailers).toEqual({ 'x-sum': 'abc', 'set-cookie': ['session=of-the-token'] });
  });

  test('to an HTTP/1.0 caller, without chunks', async () => {
    const { gateway } = await setUpApi((_incoming, outgoing) => {
      outgoing.write('one');
      outgoing.end('two');
    });
    const received = await exchangeRaw(gateway.url, 'GET /a HTTP/1.0\r\n\r\n');
    expect(received.endsWith('\r\n\r\nonetwo')).toBe(true);
    expect(received.toLowerCase()).not.toContain('transfer-encoding');
  });
});

test('pipelined requests are answered in their order', async () => {
  const { api, gateway } = await setUpApi((incoming, outgoing) => {
    // The API gives the first answer last.
    const delay = incoming.url === '/1' ? 50 : 0;
    setTimeout(() => outgoing.end(`<${incoming.url}>`), delay);
  });
  const ask3 = [1, 2, 3].map((n) => `GET /${n} HTTP/1.1\r\nHost: a\r\n`);
  const received = await exchangeRaw(
    gateway.url,
    `${ask3.slice(0, 2).join('\r\n')}\r\n${ask3[2]}Connection: close\r\n\r\n`,
  );
  expect(received.match(/<\/\d>/g)).toEqual(['</1>', '</2>', '</3>']);
  expect(api.seen).toHaveLength(3);
});

describe('a failure after the headers were sent', () => {
  test.each([
    ['a length', 'Content-Length: 10\r\n\r\nabc', ''],
    ['chunks', 'Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n', ''],
    ['wrong chunks', 'Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n', 'xyz\r\n'],
  ])('of an answer with %s is an error to its reader', async (_name, rest, end) => {
    let breakOff: (() => void) | undefined;
    const api = await startRawServer((raw) => {
      void raw
        .until((text) => text.includes('\r\n\r\n'))
        .then(() => {
          raw.write(`HTTP/1.1 200 OK\r\n${rest}`);
          breakOff = () => {
            raw.write(end);
            raw.socket.destroySoon();
          };
        });
    });
    try {
      const gateway = await setUpGateway(api.url);
      const onData = (): void => breakOff?.();
      const { status, complete, text } = await ask(`${gateway.url}/a`, { onData });
      expect({ status, complete, text }).toEqual({ status: 200, complete: false, text: 'abc' });
      const [line] = await gateway.log.wait('call', 1);
      expect(line).toMatchObject({ status: 200, outcome: 'failed', code: 'upstream-protocol' });
    } finally {
      await api.close();
    }
  });
});

describe('informational answers', () => {
  test('102 and 103 pass', async () => {
    const { gateway } = await setUpApi((_incoming, outgoing) => {
      outgoing.writeProcessing();
      outgoing.writeEarlyHints({ link: '</a.css>; rel=preload', 'x-hint': 'b' });
      outgoing.end('ok');
    });
    const { early, text } = await ask(`${gateway.url}/a`);
    expect(text).toBe('ok');
    expect(early.map(({ status }) => status)).toEqual([102, 103]);
    expect(early[1]?.headers).toMatchObject({ link: '</a.css>; rel=preload', 'x-hint': 'b' });
  });
});

describe('large bodies', () => {
  const MIB = 1024 * 1024;
  const BLOCKS = 300;
  const SIZE = BLOCKS * MIB;
  const block = randomBytes(MIB);
  const expected = createHash('sha256');
  for (let i = 0; i < BLOCKS; i++) expected.update(block);
  const EXPECTED = expected.digest('hex');

  function* blocks(): Generator<Buffer> {
    for (let i = 0; i < BLOCKS; i++) yield block;
  }

  async function hashOf(incoming: IncomingMessage): Promise<string> {
    const hash = createHash('sha256');
    for await (const chunk of incoming) hash.update(chunk);
    return hash.digest('hex');
  }

  /** The peak memory of a process, in bytes. */
  function mostMemory(pid: number): number {
    const [, kib = ''] =
      /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
    return Number(kib) * 1024;
  }

  test('stream both ways in bounded memory', async () => {
    const api = await startApi((incoming, outgoing) => {
      if (incoming.method === 'GET') {
        outgoing.writeHead(200, { 'content-length': String(SIZE) });
        void pipeline(Readable.from(blocks()), outgoing);
      } else void hashOf(incoming).then((hash) => outgoing.end(hash));
    });
    onTestFinished(() => api.close());
    const gateway = await startGatewayProcess({ upstream: api.url });
    onTestFinished(() => gateway.stop());
    const { hostname, port } = new URL(gateway.url);
    await ask(`${gateway.url}/small`, { method: 'POST', body: 'a' });
    const before = mostMemory(gateway.pid);

    const up = request({ hostname, port, method: 'POST', path: '/up', agent: false });
    const answered = new Promise<IncomingMessage>((resolve) => up.once('response', resolve));
    await pipeline(Readable.from(blocks()), up);
    let text = '';
    for await (const chunk of await answered) text += String(chunk);
    expect(text).toBe(EXPECTED);

    const down = request({ hostname, port, path: '/down', agent: false }).end();
    const incoming = await new Promise<IncomingMessage>((resolve) => {
      down.once('response', resolve);
    });
    expect(await hashOf(incoming)).toBe(EXPECTED);
    // Freed buffers stay in memory for a while; a body held as a whole would be twice as much.
    expect(mostMemory(gateway.pid) - before).toBeLessThan(150 * MIB);
    const lines = await gateway.log.wait('call', 3);
    expect(lines.slice(1)).toMatchObject([{ bytesIn: SIZE }, { bytesOut: SIZE }]);
  });

  test('are not buffered for a caller that reads slowly', async () => {
    let written = 0;
    const { gateway } = await setUpApi((_incoming, outgoing) => {
      const more = (): void => {
        while (written < SIZE && outgoing.write(block)) written += MIB;
      };
      outgoing.on('drain', more);
      more();
    });
    const raw = await openRaw(gateway.url);
    raw.write('GET /a HTTP/1.1\r\nHost: a\r\n\r\n');
    await raw.until((text) => text.length > 0);
    raw.socket.pause();
    let before = -1;
    while (before !== written) {
      before = written;
      await new Promise((resolve) => {
        setTimeout(resolve, 200);
      });
    }
    // These bytes are in the kernel's socket buffers.
    expect(written).toBeLessThan(40 * MIB);
    raw.socket.destroy();
  });
});

test('a caller that never reads its answer loses its socket to the API after a while', async () => {
  let aborted = false;
  const { gateway } = await setUpApi(
    (_incoming, outgoing) => {
      const block = Buffer.alloc(1024 * 1024);
      const more = (): void => {
        while (outgoing.write(block));
      };
      outgoing.on('drain', more).on('close', () => {
        aborted = true;
      });
      more();
    },
    { HEADGATE_BODY_IDLE_TIMEOUT: '200ms' },
  );
  const raw = await openRaw(gateway.url);
  raw.write('GET /a HTTP/1.1\r\nHost: a\r\n\r\n');
  await raw.until((text) => text.length > 0);
  raw.socket.pause();
  const [line] = await gateway.log.wait('call', 1);
  expect(line).toMatchObject({ status: 200, code: 'body-timeout', outcome: 'failed' });
  await until('the gateway closes the socket to the API', () => aborted);
  raw.socket.destroy();
});

test('requests keep end-to-end headers and lose hop-by-hop headers', async () => {
  const { api, gateway } = await setUpApi(ok);
  await exchangeRaw(
    gateway.url,
    'POST /a?b=%20c HTTP/1.1\r\nHost: gate\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: a\r\n' +
      'TE: trailers\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nProxy-Authorization: Basic x\r\n' +
      'X-Forwarded-For: 10.0.0.1\r\nForwarded: for=10.0.0.1\r\nHeadgate-Caller: me\r\n' +
      'X-End: 2\r\nContent-Length: 2\r\n\r\nhi',
  );
  const [seen] = api.seen;
  expect(seen?.url).toBe('/a?b=%20c');
  expect(Object.keys(seen?.headers ?? {}).sort()).toEqual([
    'accept',
    'connection',
    'content-length',
    'host',
    'via',
    'x-end',
  ]);
  expect(seen?.headers.host).toBe(new URL(api.url).host);
});

test.each([
  ['kept', '1MiB'],
  ['streamed', '0'],
])('the trailers of a request are dropped, and its body (%s) is whole', async (_name, limit) => {
  const received: { body: string; trailers: NodeJS.Dict<string>; trailer: unknown }[] = [];
  const { gateway } = await setUpApi(
    (incoming, outgoing) => {
      let body = '';
      incoming.on('data', (bytes: Buffer) => (body += String(bytes)));
      incoming.on('end', () => {
        received.push({ body, trailers: incoming.trailers, trailer: incoming.headers['trailer'] });
        outgoing.end('ok');
      });
    },
    { HEADGATE_BODY_LIMIT: limit },
  );
  const answer = await exchangeRaw(
    gateway.url,
    'POST /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTrailer: X-Sum, Authorization\r\n' +
      'Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n4\r\nhalf\r\n0\r\n' +
      'X-Sum: abc\r\nAuthorization: token other\r\n\r\n',
  );
  expect(answer).toMatch(/^HTTP\/1\.1 200 /);
  expect(received).toEqual([{ body: 'halfhalf', trailers: {}, trailer: undefined }]);
});
