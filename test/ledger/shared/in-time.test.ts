import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { Worker } from 'node:worker_threads';
import { describe, expect, onTestFinished, test } from 'vitest';
import { inTime } from '../../../src/ledger/shared/in-time.ts';
import { systemClock } from '../../../src/util/system-clock.ts';
import { FakeClock } from '../../support/fake-clock.ts';

/** A server in a thread of its own: it answers, and then sets the flag, while this thread sleeps. */
const SERVER = `
const { parentPort, workerData } = require('node:worker_threads');
const { createServer } = require('node:net');
const server = createServer((socket) => socket.once('data', () => socket.write('+PONG', () => {
  Atomics.store(workerData, 0, 1);
  Atomics.notify(workerData, 0);
})));
server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));
`;

/** Whether the operating system has bytes that were sent to this socket and not read. */
function hasArrived({ localPort = 0 }: Socket): boolean {
  const port = localPort.toString(16).toUpperCase().padStart(4, '0');
  const table = readFileSync('/proc/net/tcp', 'latin1');
  const [, waiting = '0'] =
    new RegExp(`^ *\\d+: [0-9A-F]+:${port} \\S+ \\S+ [0-9A-F]+:([0-9A-F]+)`, 'm').exec(table) ?? [];
  return Number.parseInt(waiting, 16) > 0;
}

describe('the time limit of a reply', () => {
  test('ends one turn later, so that a blocked process is no outage', async () => {
    const answered = new Int32Array(new SharedArrayBuffer(4));
    const worker = new Worker(SERVER, { eval: true, workerData: answered });
    onTestFinished(async () => void (await worker.terminate()));
    const [port] = await once(worker, 'message');
    const socket = connect(Number(port), '127.0.0.1');
    onTestFinished(() => void socket.destroy());
    await once(socket, 'connect');

    const arrived = once(socket, 'data').then(([bytes]) => String(bytes));
    const reply = inTime(arrived, 20, systemClock);
    socket.write('PING');
    // The reply arrives meanwhile, and the time is over before it can be read.
    Atomics.wait(answered, 0, 0);
    const [until, giveUpAt] = [performance.now() + 50, performance.now() + 60_000];
    while (performance.now() < until || (!hasArrived(socket) && performance.now() < giveUpAt));
    await expect(reply).resolves.toBe('+PONG');
  });

  test('ends the wait when no reply arrived', async () => {
    const clock = new FakeClock();
    const judged = inTime(new Promise<never>(() => undefined), 100, clock);
    clock.advance(100);
    clock.advance(1);
    await expect(judged).rejects.toThrow('no answer within 100 ms');
  });
});
