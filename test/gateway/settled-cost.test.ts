import { get, type IncomingMessage, type ServerResponse } from 'node:http';
import { promisify } from 'node:util';
import * as zlib from 'node:zlib';
import { describe, expect, onTestFinished, test } from 'vitest';
import { startApi } from '../support/api.ts';
import { ask } from '../support/ask.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { startGateway } from '../support/gateway.ts';
import { bucketsOf, until } from '../support/setup.ts';

const IN_BODY = `
limits: []
classes:
  - { name: all, settleCost: { json: /extensions/cost/actual }, limits: [100/1m] }
`;

/** A gateway with a stated limit of 100 a minute, of which answers report nothing but the cost. */
async function startCosts(
  answer: (incoming: IncomingMessage, outgoing: ServerResponse) => unknown,
  { file = IN_BODY, preset = 'none' } = {},
) {
  const api = await startApi(answer);
  onTestFinished(() => api.close());
  const clock = new FakeClock();
  const gateway = await startGateway({
    upstream: api.url,
    clock,
    settings: { HEADGATE_PRESET: preset },
    files: { 'headgate.yaml': file },
  });
  onTestFinished(() => gateway.stop());
  const bucket = async () => (await bucketsOf(gateway))[0];
  const remains = (remaining: number, leases = 0) =>
    until(`${remaining} remain, and ${leases} are leased`, async () => {
      const found = await bucket();
      return found?.remaining === remaining && found.leases === leases;
    });
  return { api, clock, gateway, bucket, remains };
}

/** A JSON body with data of `bytes` before its cost. */
function body(cost: unknown, bytes = 10): string {
  return JSON.stringify({ data: ['x'.repeat(bytes)], extensions: { cost: { actual: cost } } });
}

function json(outgoing: ServerResponse, text: string | Buffer, coding?: string, status = 200) {
  outgoing.writeHead(status, {
    'Content-Type': 'application/graphql-response+json',
    ...(coding === undefined ? {} : { 'Content-Encoding': coding }),
  });
  outgoing.end(text);
}

const CODINGS: readonly [coding: string, encode: (text: string) => Promise<Buffer>][] = [
  ['identity', (text) => Promise.resolve(Buffer.from(text))],
  ['gzip', promisify<string, Buffer>(zlib.gzip)],
  ['deflate', promisify<string, Buffer>(zlib.deflate)],
  ['br', promisify<string, Buffer>(zlib.brotliCompress)],
  ['zstd', promisify<string, Buffer>(zlib.zstdCompress)],
];

describe('the cost that the body of an answer states', () => {
  test.each(CODINGS)('counts, and the body is not changed: coding %s', async (coding, encode) => {
    const bytes = await encode(body(40, 20_000));
    const { gateway, remains } = await startCosts((_, outgoing) => json(outgoing, bytes, coding));
    const answer = await ask(`${gateway.url}/graphql`);
    expect(answer.body.equals(bytes)).toBe(true);
    expect(answer.headers['content-encoding']).toBe(coding);
    await remains(60);
    expect(gateway.log.lines.filter(({ level }) => level === 'warn')).toEqual([]);
  });

  test.each([
    ['2.5', 3],
    ['"7"', 7],
    ['0', 0],
  ])('is rounded up: %s', async (stated, cost) => {
    const text = `{"extensions":{"cost":{"actual": ${stated} }}}`;
    const { gateway, remains } = await startCosts((_, outgoing) => json(outgoing, text));
    expect((await ask(`${gateway.url}/graphql`)).text).toBe(text);
    await remains(100 - cost);
  });

  test('counts in a list, and beside links that are rewritten', async () => {
    const file = IN_BODY.replace('/extensions/cost/actual', '/results/1/cost');
    const text = '{"links":{"next":null},"results":[{"cost":1},{"cost":30}]}';
    const { gateway, remains } = await startCosts(
      (_, outgoing) => json(outgoing, text, 'identity'),
      {
        file,
        preset: 'azion',
      },
    );
    expect((await ask(`${gateway.url}/graphql`)).text).toBe(text);
    await remains(70);
  });

  test('counts as soon as it has arrived, and no byte waits for it', async () => {
    let outgoing: ServerResponse | undefined;
    const { gateway, remains } = await startCosts((_, answer) => {
      outgoing = answer;
      answer.writeHead(200, { 'Content-Type': 'application/json' });
      answer.write('{"data":[1],"ext');
    });
    let text = '';
    const request = get(`${gateway.url}/graphql`, { agent: false }, (incoming) => {
      incoming.on('data', (bytes: Buffer) => (text += bytes.toString()));
      incoming.on('error', () => undefined);
    });
    request.on('error', () => undefined);
    onTestFinished(() => void request.destroy());
    await until('the first part has arrived', () => text === '{"data":[1],"ext');
    await remains(100, 1);
    outgoing?.write('ensions":{"cost":{"actual":4');
    outgoing?.write('0}},');
    await until('the second part has arrived', () => text.endsWith('40}},'));
    await remains(60);
    expect(outgoing?.writableEnded).toBe(false);
  });

  test('is corrected for the calls that wait', async () => {
    const { clock, gateway, api } = await startCosts((_, outgoing) => json(outgoing, body(60)));
    await ask(`${gateway.url}/graphql`);
    // The first call showed what one costs, so the second has to wait.
    const second = ask(`${gateway.url}/graphql`);
    await until('it waits', async () => (await bucketsOf(gateway))[0]?.waiting === 1);
    expect(api.seen).toHaveLength(1);
    clock.advance(61_000);
    expect((await second).status).toBe(200);
  });
});

describe('the cost of the grant stands, and is settled once, if', () => {
  /** What the line of the log counts. */
  const LOGGED: readonly [why: string, answer: (outgoing: ServerResponse) => void, line: object][] =
    [
      ['the body does not state it', (outgoing) => json(outgoing, '{"a":1}'), { absent: 1 }],
      ['the body states no number', (outgoing) => json(outgoing, body(null)), { absent: 1 }],
      ['the body is no JSON', (outgoing) => json(outgoing, 'oops'), { absent: 1 }],
      ['it is no count', (outgoing) => json(outgoing, body(1e9)), { absent: 1 }],
      ['it is endless', (outgoing) => json(outgoing, body('9'.repeat(100_000))), { absent: 1 }],
      ['it is behind the first MiB', (outgoing) => json(outgoing, body(40, 1 << 20)), { size: 1 }],
      [
        'it is behind the first MiB, decoded',
        (outgoing) => json(outgoing, zlib.gzipSync(body(40, 1 << 24)), 'gzip'),
        { size: 1 },
      ],
      [
        'the coding is not known',
        (outgoing) => json(outgoing, body(40), 'compress'),
        { coding: 1 },
      ],
      ['the coding is wrong', (outgoing) => json(outgoing, body(40), 'gzip'), { coding: 1 }],
      [
        'the body is of another type',
        (outgoing) => {
          outgoing.writeHead(200, { 'Content-Type': 'text/html' });
          outgoing.end(body(40));
        },
        { type: 1 },
      ],
    ];

  test.each(LOGGED)('%s', async (_why, answer, line) => {
    const { gateway, remains } = await startCosts((_, outgoing) => answer(outgoing));
    for (const left of [99, 98]) {
      await ask(`${gateway.url}/graphql`);
      await remains(left);
    }
    // Once a minute.
    const lines = gateway.log.lines.filter(({ msg }) => msg === 'cost not found');
    expect(lines).toMatchObject([
      { level: 'warn', class: 'all', settleCost: '/extensions/cost/actual', ...line },
    ]);
  });

  test.each([
    ['the answer reports a failure', 'error'],
    ['the answer has no body', 'empty'],
    ['the answer is from a cache', 'cached'],
  ])('%s, without a line in the log', async (_why, kind) => {
    const { gateway, remains } = await startCosts((_, outgoing) => {
      if (kind === 'error') return json(outgoing, '{"errors":[]}', undefined, 400);
      if (kind === 'cached') outgoing.setHeader('Age', '5');
      return kind === 'cached' ? json(outgoing, body(40)) : json(outgoing, '');
    });
    await ask(`${gateway.url}/graphql`);
    await remains(99);
    expect(gateway.log.lines.filter(({ level }) => level === 'warn')).toEqual([]);
  });

  test.each(['', 'gzip'])('the answer breaks off: coding %j', async (coding) => {
    const { gateway, remains } = await startCosts((_, outgoing) => {
      outgoing.writeHead(200, {
        'Content-Type': 'application/json',
        ...(coding === '' ? {} : { 'Content-Encoding': coding }),
      });
      const start = body(40, 50_000).slice(0, 30_000);
      outgoing.write(coding === '' ? start : zlib.gzipSync(start).subarray(0, 20));
      setImmediate(() => outgoing.destroy());
    });
    expect(await ask(`${gateway.url}/graphql`)).toMatchObject({ complete: false });
    await remains(99);
  });

  test.each(['', 'gzip'])('the caller leaves: coding %j', async (coding) => {
    const { gateway, remains } = await startCosts((_, outgoing) => {
      outgoing.writeHead(200, {
        'Content-Type': 'application/json',
        ...(coding === '' ? {} : { 'Content-Encoding': coding }),
      });
      const start = body(40).slice(0, 10);
      outgoing.write(coding === '' ? start : zlib.gzipSync(start).subarray(0, 12));
    });
    const request = get(`${gateway.url}/graphql`, { agent: false });
    request.on('error', () => undefined);
    await remains(100, 1);
    request.socket?.resetAndDestroy();
    await remains(99);
    expect(gateway.log.lines.filter(({ level }) => level === 'warn')).toEqual([]);
  });

  test('it does not arrive within five seconds', async () => {
    const { clock, gateway, remains } = await startCosts((_, outgoing) => {
      outgoing.writeHead(200, { 'Content-Type': 'application/json' });
      outgoing.write('{"data":');
    });
    await new Promise((resolve) => {
      const request = get(`${gateway.url}/graphql`, { agent: false }, resolve);
      request.on('error', () => undefined);
      onTestFinished(() => void request.destroy());
    });
    await remains(100, 1);
    clock.advance(5000);
    await remains(99);
    expect(gateway.log.lines).toContainEqual(
      expect.objectContaining({ msg: 'cost not found', late: 1 }),
    );
  });
});
