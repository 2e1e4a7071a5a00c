import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { setUpApi } from '../http/setup.ts';
import { FakeClock } from '../support/fake-clock.ts';
import type { TestGateway } from '../support/gateway.ts';
import { openRaw, type RawSocket } from '../support/raw-socket.ts';
import { until, untilStill } from '../support/setup.ts';

const MIB = 1024 * 1024;
const LENGTH = 40 * MIB;

/** Asks for an answer that no buffer holds, and reads none of it. */
async function askForLarge(): Promise<{ clock: FakeClock; gateway: TestGateway; raw: RawSocket }> {
  const clock = new FakeClock();
  const { gateway } = await setUpApi(
    (_incoming, outgoing) => {
      outgoing.setHeader('Content-Length', LENGTH);
      outgoing.end(Buffer.alloc(LENGTH, 'a'));
    },
    { HEADGATE_PRESET: 'none' },
    { clock },
  );
  const raw = await openRaw(gateway.url);
  raw.write('GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  await raw.until((text) => text.length > 0);
  raw.socket.pause();
  await untilStill(() => raw.socket.bytesRead);
  return { clock, gateway, raw };
}

/** Reads about `bytes` more, and stops again. */
async function readSome(raw: RawSocket, bytes: number): Promise<void> {
  const end = raw.received.length + bytes;
  const onData = (): void => {
    if (raw.received.length >= end) raw.socket.pause();
  };
  raw.socket.on('data', onData);
  raw.socket.resume();
  await raw.until((text) => text.length >= end);
  raw.socket.off('data', onData);
}

/** Less than the time between two looks of the gateway at what a caller has read. */
const STEP_MS = 2500;

/** Lets time pass in steps, so that what the gateway asks the system is answered in between. */
async function pass(clock: FakeClock, ms: number): Promise<void> {
  for (let at = 0; at < ms; at += STEP_MS) {
    clock.advance(Math.min(STEP_MS, ms - at));
    // The gateway reads the system's table of connections outside of the event loop, and the table
    // is long on a busy machine. Two later reads of it take longer than that one.
    for (let i = 0; i < 2; i++) await readFile('/proc/net/tcp');
    await new Promise((resolve) => void setTimeout(resolve, 5));
  }
}

// Elsewhere the system does not report what a caller has read.
describe.runIf(process.platform === 'linux')('a caller that reads slowly', () => {
  test('but steadily gets its whole answer', async () => {
    const { clock, gateway, raw } = await askForLarge();
    // Three minutes at 20 KB a second: the system's buffer is never free enough for more bytes.
    for (let step = 0; step < 18; step++) {
      await readSome(raw, 200_000);
      await pass(clock, 10_000);
    }
    raw.socket.resume();
    await raw.end();
    expect(raw.received.length).toBeGreaterThan(LENGTH);
    const [line] = await gateway.log.wait('call', 1);
    expect(line).toMatchObject({ status: 200, outcome: 'answered' });
  });

  test('and then stops is cut off', async () => {
    const { clock, gateway, raw } = await askForLarge();
    await pass(clock, 14_000);
    await readSome(raw, 200_000);
    await pass(clock, 20_000);
    expect(gateway.log.named('call')).toEqual([]);
    await until('it is cut off', async () => {
      await pass(clock, 1000);
      return gateway.log.count('call') === 1;
    });
    const [line] = gateway.log.named('call');
    expect(line).toMatchObject({ status: 200, outcome: 'failed', code: 'body-timeout' });
    raw.socket.destroy();
  });
});
