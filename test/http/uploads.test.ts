import { describe, expect, onTestFinished, test } from 'vitest';
import { startApi } from '../support/api.ts';
import { ask } from '../support/ask.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { startGateway } from '../support/gateway.ts';
import { openRaw, type RawSocket } from '../support/raw-socket.ts';
import { bucketsOf, until, untilStill } from '../support/setup.ts';
import { ok, setUpApi, setUpHeldApi, untilWaiting } from './setup.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

async function post(url: string, length: number, more = ''): Promise<RawSocket> {
  const raw = await openRaw(url);
  raw.write(`POST /up HTTP/1.1\r\nHost: a\r\n${more}Content-Length: ${length}\r\n\r\n`);
  return raw;
}

describe('a caller that expects 100-continue', () => {
  const EXPECT = 'Expect: 100-continue\r\n';

  test('may send a small body at once, and is answered', async () => {
    const { gateway } = await setUpApi(ok);
    const raw = await post(gateway.url, 2, EXPECT);
    await raw.until((text) => text === 'HTTP/1.1 100 Continue\r\n\r\n');
    raw.write('hi');
    expect(await raw.until((text) => text.endsWith('ok'))).toContain('HTTP/1.1 200 OK');
    raw.socket.destroy();
  });

  test('sends a large body only when its request is granted', async () => {
    const { api, gateway, release } = await setUpHeldApi();
    const raw = await post(gateway.url, 2 * MIB, EXPECT);
    await untilWaiting(gateway, 1);
    expect(raw.received).toBe('');
    release();
    await raw.until((text) => text === 'HTTP/1.1 100 Continue\r\n\r\n');
    raw.write(Buffer.alloc(2 * MIB, 'a'));
    await raw.until((text) => text.endsWith('ok'));
    expect(api.seen.at(-1)?.headers).toMatchObject({ 'content-length': String(2 * MIB) });
    expect(api.seen.at(-1)?.headers.expect).toBeUndefined();
    raw.socket.destroy();
  });

  test('receives Connection: close when it is refused before it sent its body', async () => {
    const { gateway } = await setUpApi(ok, { HEADGATE_BODY_MAX: '1KiB' });
    const raw = await post(gateway.url, 2 * KIB, EXPECT);
    await raw.end();
    expect(raw.received).toMatch(/^HTTP\/1\.1 413 /);
    expect(raw.received).not.toContain('100 Continue');
  });

  test('and disconnects while it waits frees its place at once', async () => {
    const { gateway } = await setUpHeldApi();
    const raw = await post(gateway.url, 2 * MIB, EXPECT);
    await untilWaiting(gateway, 1);
    raw.socket.destroy();
    const [line] = await gateway.log.wait('call', 1);
    expect(line).toMatchObject({ outcome: 'aborted', attempts: 0, status: 0, waiting: 0 });
  });
});

describe('a caller that disconnects', () => {
  test('while it waits frees its place at once', async () => {
    const { api, gateway } = await setUpHeldApi();
    const raw = await openRaw(gateway.url);
    raw.write('GET /left HTTP/1.1\r\nHost: a\r\n\r\n');
    await untilWaiting(gateway, 1);
    raw.socket.destroy();
    const [line] = await gateway.log.wait('call', 1);
    expect(line).toMatchObject({ outcome: 'aborted', attempts: 0, status: 0, waiting: 0 });
    expect(api.seen.map(({ url }) => url)).toEqual(['/held']);
  });

  test('in the middle of a small body is logged as gone, not as stalled', async () => {
    const { gateway } = await setUpApi(ok);
    const raw = await post(gateway.url, 10);
    raw.write('hello');
    raw.socket.end();
    const [line] = await gateway.log.wait('call', 1);
    expect(line).toMatchObject({ outcome: 'aborted', attempts: 0, bytesIn: 5 });
  });

  test('by a reset is noticed even while its large body is not read', async () => {
    const { gateway } = await setUpHeldApi();
    const raw = await post(gateway.url, 4 * MIB);
    raw.write(Buffer.alloc(4 * MIB));
    await untilWaiting(gateway, 1);
    raw.socket.resetAndDestroy();
    const [line] = await gateway.log.wait('call', 1);
    expect(line).toMatchObject({ outcome: 'aborted', attempts: 0, waiting: 0 });
  });

  test('during its call aborts it at the API', async () => {
    let closed = false;
    const { gateway, api } = await setUpApi((_incoming, outgoing) => {
      outgoing.on('close', () => {
        closed = true;
      });
    });
    const raw = await openRaw(gateway.url);
    raw.write('GET /slow HTTP/1.1\r\nHost: a\r\n\r\n');
    await until('the API has the request', () => api.seen.length === 1);
    raw.socket.destroy();
    await until('the gateway closes the socket to the API', () => closed);
    expect(await gateway.log.wait('call', 1)).toMatchObject([{ outcome: 'aborted', attempts: 1 }]);
  });

  test('in the middle of its upload leaves an incomplete request at the API', async () => {
    let ended = false;
    let closed = false;
    const { gateway, api } = await setUpApi(
      (incoming) => {
        incoming.resume().on('end', () => {
          ended = true;
        });
        incoming.on('close', () => {
          closed = true;
        });
      },
      { HEADGATE_BODY_LIMIT: '1KiB' },
    );
    for (const framing of ['Content-Length: 100000', 'Transfer-Encoding: chunked']) {
      closed = false;
      const raw = await openRaw(gateway.url);
      raw.write(`POST /up HTTP/1.1\r\nHost: a\r\n${framing}\r\n\r\n`);
      raw.write(
        framing.startsWith('T') ? `800\r\n${'a'.repeat(2 * KIB)}\r\n` : 'a'.repeat(2 * KIB),
      );
      const before = api.seen.length;
      await until('the API has a part', () => api.seen.length > before || closed);
      raw.socket.destroy();
      await until('the gateway closes the socket to the API', () => closed);
    }
    expect(ended).toBe(false);
  });
});

describe('an upload that stalls', () => {
  test.each([
    ['while it is kept', '1MiB'],
    ['while it streams', '1KiB'],
  ])('%s ends with a 408', async (_name, limit) => {
    const clock = new FakeClock();
    let aborted = 0;
    const { api, gateway } = await setUpApi(
      (incoming) => incoming.resume().on('close', () => aborted++),
      { HEADGATE_BODY_LIMIT: limit, HEADGATE_BODY_IDLE_TIMEOUT: '5s' },
      { clock },
    );
    const raw = await post(gateway.url, 4 * KIB);
    raw.write('a'.repeat(2 * KIB));
    if (limit === '1KiB') await until('the API has the request', () => api.seen.length === 1);
    await until('it has ended', () => {
      clock.advance(1000);
      return raw.received.includes('requestId');
    });
    expect(raw.received).toMatch(/^HTTP\/1\.1 408 /);
    const [line] = await gateway.log.wait('call', 1);
    expect(line).toMatchObject({ status: 408, code: 'body-timeout', outcome: 'failed' });
    if (limit === '1KiB') await until('the API is disconnected', () => aborted === 1);
    raw.socket.destroy();
  });

  test('at one byte now and then ends with a 408, and its operation counts as lost', async () => {
    const clock = new FakeClock();
    let bytes = 0;
    let left = false;
    const api = await startApi((incoming, outgoing) => {
      outgoing.setHeader('x-ratelimit-limit', '10');
      outgoing.setHeader('x-ratelimit-remaining', '9');
      outgoing.setHeader('x-ratelimit-reset', '3600');
      if (incoming.method === 'GET') outgoing.end('ok');
      incoming.on('data', (chunk: Buffer) => (bytes += chunk.length));
      incoming.on('error', () => (left = true));
    });
    onTestFinished(() => api.close());
    const gateway = await startGateway({
      upstream: api.url,
      clock,
      settings: { HEADGATE_PRESET: 'none', HEADGATE_UPSTREAM_CONNECTIONS: '1' },
    });
    onTestFinished(() => gateway.stop());
    await ask(`${gateway.url}/a`);
    const raw = await openRaw(gateway.url);
    raw.write('PUT /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 900000000\r\n\r\n');
    let sent = 0;
    while (raw.received === '') {
      if (left) break;
      raw.write('x');
      sent++;
      await until('the API has it, or the upload has ended', () => bytes >= sent || left);
      clock.advance(5000);
      expect(sent).toBeLessThan(10);
    }
    await raw.until((text) => text.includes('requestId'));
    expect(raw.received).toMatch(/^HTTP\/1\.1 408 [^]*arrived at less than 1024 bytes a second/);
    await until('the API is left', () => left);
    const lines = await gateway.log.wait('call', 2);
    expect(lines[1]).toMatchObject({ status: 408, code: 'body-timeout', attempts: 1 });
    const buckets = await bucketsOf(gateway);
    expect(buckets).toMatchObject([{ class: 'all', remaining: 8, leases: 0 }]);
    expect(await ask(`${gateway.url}/b`)).toMatchObject({ status: 200 });
  });

  test('does not count as stalled while its request waits', async () => {
    const clock = new FakeClock();
    const { gateway, release } = await setUpHeldApi(
      { HEADGATE_BODY_IDLE_TIMEOUT: '10s' },
      { clock },
    );
    const answered = ask(`${gateway.url}/up`, { method: 'POST', body: Buffer.alloc(8 * MIB, 'a') });
    await untilWaiting(gateway, 1);
    clock.advance(50_000);
    release();
    expect(await answered).toMatchObject({ status: 200, text: 'ok' });
  });

  test('does not count as stalled while the API does not read it', async () => {
    const clock = new FakeClock();
    let read = (): void => undefined;
    const { api, gateway } = await setUpApi(
      (incoming, outgoing) => (read = () => ok(incoming, outgoing)),
      { HEADGATE_BODY_IDLE_TIMEOUT: '10s' },
      { clock },
    );
    const raw = await post(gateway.url, 32 * MIB, 'Connection: close\r\n');
    raw.write(Buffer.alloc(32 * MIB, 'a'));
    await until('the API has the request', () => api.seen.length === 1);
    await untilStill(() => raw.socket.bytesWritten - raw.socket.writableLength);
    for (let second = 0; second < 50; second++) {
      clock.advance(1000);
      // What is still on its way arrives meanwhile.
      await ask(`${gateway.adminUrl}/health/live`);
    }
    read();
    await raw.end();
    expect(raw.received).toMatch(/^HTTP\/1\.1 200 [^]*ok/);
  });
});

describe('an upload that is answered before its end leaves its connection usable', () => {
  /** The number of answers with this status to an upload and to the request behind it. */
  async function answersTo(url: string, status: number): Promise<number> {
    const raw = await openRaw(url);
    raw.write('POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n');
    raw.write(`800\r\n${'a'.repeat(2 * KIB)}\r\n`);
    await raw.until((text) => text.startsWith(`HTTP/1.1 ${status} `));
    for (let i = 0; i < 200; i++) raw.write(`4000\r\n${'a'.repeat(16 * KIB)}\r\n`);
    raw.write('0\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
    await raw.end();
    return raw.received.split(`HTTP/1.1 ${status} `).length - 1;
  }

  test('when the API does not read it', async () => {
    const { gateway } = await setUpApi((_incoming, outgoing) => outgoing.end('no'), {
      HEADGATE_BODY_LIMIT: '1KiB',
    });
    expect(await answersTo(gateway.url, 200)).toBe(2);
  });

  test('when it is refused', async () => {
    const { gateway } = await setUpHeldApi({
      HEADGATE_BODY_LIMIT: '1KiB',
      HEADGATE_MAX_WAIT: '100ms',
    });
    expect(await answersTo(gateway.url, 503)).toBe(2);
  });
});

describe('the buffered bodies of waiting requests', () => {
  test('share one bound, and the flow that holds most is shed', async () => {
    const { gateway, release } = await setUpHeldApi({ HEADGATE_BODY_MEMORY: '128KiB' });
    const send = (caller: string, kib: number): ReturnType<typeof ask> =>
      ask(`${gateway.url}/${caller}`, {
        method: 'POST',
        headers: { 'headgate-caller': caller },
        body: Buffer.alloc(kib * KIB),
      });
    const greedy = [];
    for (const count of [1, 2, 3]) {
      greedy.push(send('greedy', 32));
      await untilWaiting(gateway, count);
    }
    const modest = send('modest', 10);
    const refused = await greedy.at(-1);
    expect(refused?.status).toBe(503);
    expect(refused?.headers['headgate-error']).toBe('body-memory-full');
    expect(refused?.headers['retry-after']).toBe('1');
    await untilWaiting(gateway, 3);
    release();
    for (const answer of await Promise.all([...greedy.slice(0, 2), modest])) {
      expect(answer.status).toBe(200);
    }
    // Requests that were answered hold no memory.
    for (let i = 0; i < 5; i++) expect((await send('greedy', 110)).status).toBe(200);
    const lines = await gateway.log.wait('call', 10);
    expect(lines.filter(({ outcome }) => outcome === 'shed')).toMatchObject([
      { caller: 'greedy', code: 'body-memory-full' },
    ]);
  });

  test('are refused when no other request waits', async () => {
    const { gateway } = await setUpApi(ok, { HEADGATE_BODY_MEMORY: '8KiB' });
    const answer = await ask(`${gateway.url}/up`, { method: 'POST', body: Buffer.alloc(9 * KIB) });
    expect(answer.headers['headgate-error']).toBe('body-memory-full');
  });
});
