import { get, type IncomingMessage, type ServerResponse } from 'node:http';
import { PassThrough, type Transform } from 'node:stream';
import * as zlib from 'node:zlib';
import { describe, expect, onTestFinished, test } from 'vitest';
import { until } from '../support/setup.ts';
import { setUpApi } from './setup.ts';

interface Streamed {
  readonly incoming: IncomingMessage;
  /** What was received of the body so far, decoded. */
  readonly text: () => string;
  readonly ended: () => boolean;
}

/** Requests a URL, and resolves when the head of the answer has arrived. */
function open(url: string, coding: string, decoder: Transform): Promise<Streamed> {
  return new Promise((resolve, reject) => {
    const headers = coding === '' ? {} : { 'accept-encoding': coding };
    const request = get(url, { headers, agent: false }, (incoming) => {
      let text = '';
      let ended = false;
      decoder.on('data', (bytes: Buffer) => (text += bytes.toString('latin1')));
      decoder.on('end', () => (ended = true));
      incoming.pipe(decoder);
      resolve({ incoming, text: () => text, ended: () => ended });
    });
    request.on('error', reject);
    onTestFinished(() => void request.destroy());
  });
}

const { BROTLI_OPERATION_FLUSH, Z_SYNC_FLUSH, ZSTD_e_flush } = zlib.constants;

const CODINGS: readonly [coding: string, encoder: () => Transform, decoder: () => Transform][] = [
  ['', () => new PassThrough(), () => new PassThrough()],
  ['gzip', () => zlib.createGzip({ flush: Z_SYNC_FLUSH }), () => zlib.createGunzip()],
  ['deflate', () => zlib.createDeflate({ flush: Z_SYNC_FLUSH }), () => zlib.createInflate()],
  [
    'br',
    () => zlib.createBrotliCompress({ flush: BROTLI_OPERATION_FLUSH }),
    () => zlib.createBrotliDecompress(),
  ],
  [
    'zstd',
    () => zlib.createZstdCompress({ flush: ZSTD_e_flush }),
    () => zlib.createZstdDecompress(),
  ],
];

/** Starts an API that streams a JSON answer, whose parts the result writes or breaks off. */
async function setUpStream(coding: string, encoder: Transform) {
  let answer: ServerResponse | undefined;
  const { api, gateway } = await setUpApi(
    (_incoming: IncomingMessage, outgoing: ServerResponse) => {
      outgoing.writeHead(200, {
        'content-type': 'application/json; charset=utf-8',
        etag: '"a"',
        ...(coding === '' ? {} : { 'content-encoding': coding }),
      });
      outgoing.flushHeaders();
      encoder.pipe(outgoing);
      answer = outgoing;
    },
  );
  return {
    api,
    gateway,
    send: (text: string) => void encoder.write(Buffer.from(text, 'latin1')),
    breakOff: () => void answer?.destroy(),
  };
}

describe('a JSON answer that the API streams', () => {
  test.each(CODINGS)(
    'is passed on as it arrives, with its links rewritten: coding %j',
    async (coding, makeEncoder, makeDecoder) => {
      const encoder = makeEncoder();
      const { api, gateway, send } = await setUpStream(coding, encoder);
      const { incoming, text, ended } = await open(`${gateway.url}/a`, coding, makeDecoder());
      expect(incoming.statusCode).toBe(200);
      expect(incoming.headers).toMatchObject({ etag: 'W/"a-headgate"' });
      expect(text()).toBe('');

      const before = '{"results":["ä",1],"links":{"next":';
      send(`${before}"ht`);
      // The link is held until its end arrives, and nothing else is.
      await until('the first part has arrived', () => text() === before);
      send(`${api.url.slice(2)}/a?page=2","previous":null},`);
      const links = `${before}"${gateway.url}/a?page=2","previous":null},`;
      await until('the links have arrived', () => text() === links);
      send(`"other":"${api.url}/b"}`);
      encoder.end();
      await until('the answer has ended', ended);
      expect(text()).toBe(`${links}"other":"${api.url}/b"}`);
      const [line] = await gateway.log.wait('call', 1);
      expect(line).toMatchObject({ status: 200, outcome: 'answered' });
    },
  );

  test('is not changed where its links are right: by the ETag, too', async () => {
    const encoder = new PassThrough();
    const { api, gateway, send } = await setUpStream('', encoder);
    const { port } = new URL(gateway.url);
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const headers = { host: new URL(api.url).host };
      get({ host: '127.0.0.1', port, path: '/a', headers, agent: false }, resolve).on(
        'error',
        reject,
      );
    });
    onTestFinished(() => void answer.destroy());
    expect(answer.headers.etag).toBe('"a"');
    const body = `{"links":{"next":"${api.url}/a"}}`;
    send(body);
    encoder.end();
    const chunks: Buffer[] = [];
    for await (const chunk of answer) chunks.push(Buffer.from(chunk));
    expect(Buffer.concat(chunks).toString()).toBe(body);
  });

  test('passes a string that is too long for a link as it arrives', async () => {
    const encoder = new PassThrough();
    const { gateway, send } = await setUpStream('', encoder);
    const { text } = await open(`${gateway.url}/a`, '', new PassThrough());
    const start = `{"links":{"next":"${'x'.repeat(70_000)}`;
    send(start);
    await until('it has arrived', () => text().length >= start.length);
    expect(text()).toBe(start);
  });

  test('that breaks off is broken off for its caller', async () => {
    const { gateway, send, breakOff } = await setUpStream('', new PassThrough());
    const { incoming, text } = await open(`${gateway.url}/a`, '', new PassThrough());
    incoming.on('error', () => undefined);
    send('{"links":');
    await until('it has arrived', () => text() === '{"links":');
    breakOff();
    await until('it is broken off', () => incoming.destroyed);
    expect(incoming.complete).toBe(false);
    const [line] = await gateway.log.wait('call', 1);
    expect(line).toMatchObject({ status: 200, outcome: 'failed', code: 'upstream-protocol' });
  });
});
