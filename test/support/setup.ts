import { onTestFinished } from 'vitest';
import { ask } from './ask.ts';
import { startAzion, type Azion, type AzionOptions } from './azion.ts';
import type { FakeClock } from './fake-clock.ts';
import { startGateway, type GatewayOptions, type TestGateway } from './gateway.ts';
import { openRaw, startRawServer } from './raw-socket.ts';

export interface Setup {
  readonly azion: Azion;
  readonly gateway: TestGateway;
}

/**
 * Starts the API's simulator and a gateway in front of it, for one test, and closes both when the
 * test ends. They share the clock, if one is given.
 */
export async function setUp(
  api: AzionOptions = {},
  options: Omit<GatewayOptions, 'upstream'> = {},
): Promise<Setup> {
  const azion = await startAzion({
    ...(options.clock === undefined ? {} : { clock: options.clock }),
    ...api,
  });
  onTestFinished(() => azion.close());
  const gateway = await startGateway({ upstream: azion.url, ...options });
  onTestFinished(() => gateway.stop());
  return { azion, gateway };
}

/** A bucket as the admin listener shows it. */
export interface BucketLine {
  readonly id: string;
  readonly class: string;
  readonly limit?: number;
  readonly remaining?: number;
  readonly kept?: number;
  readonly resetInMs?: number;
  readonly blockedForMs?: number;
  readonly leases: number;
  readonly waiting: number;
  readonly waitingHereByCaller: Readonly<Record<string, number>>;
}

/**
 * The buckets that `GET /buckets` shows now. Each request has its own connection: on a busy machine
 * `fetch` may use an idle one just when the server closes it.
 */
export async function bucketsOf({ adminUrl }: { adminUrl: string }): Promise<BucketLine[]> {
  const { text } = await ask(`${adminUrl}/buckets`);
  const { buckets }: { buckets: BucketLine[] } = JSON.parse(text);
  return buckets;
}

/** How long a test waits for a condition before it fails with the condition's name. */
const PATIENCE_MS = 240_000;

/** Resolves when `done` returns true; it is called every few milliseconds. */
export async function until(
  what: string,
  done: () => boolean | Promise<boolean>,
  { everyMs = 5 } = {},
): Promise<void> {
  const giveUpAt = performance.now() + PATIENCE_MS;
  while (!(await done())) {
    if (performance.now() > giveUpAt) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => {
      setTimeout(resolve, everyMs);
    });
  }
}

/**
 * Moves the clock step by step until a promise settles. Between two steps, what the last one started
 * goes on: sockets of this process are served as often as those of the question for the health.
 */
export async function advanceUntil<T>(
  { clock, gateway }: { clock: FakeClock; gateway: Pick<TestGateway, 'adminUrl'> },
  pending: Promise<T>,
  { stepMs = 250 } = {},
): Promise<T> {
  let isSettled = false;
  const settle = (): void => void (isSettled = true);
  void pending.then(settle, settle);
  const step = async (): Promise<boolean> => {
    clock.advance(stepMs);
    await ask(`${gateway.adminUrl}/health/live`);
    return isSettled;
  };
  await until('it is settled', step, { everyMs: 0 });
  return pending;
}

/**
 * Resolves when `figure` no longer changes. All ends of all connections are in this process, so
 * nothing moves any more after some turns of its event loop without a change. In each turn a byte
 * passes through the system, which has then delivered what was sent before.
 */
export async function untilStill(figure: () => number): Promise<void> {
  const echo = await startRawServer(({ socket }) => void socket.pipe(socket));
  const raw = await openRaw(echo.url);
  let bytes = 0;
  for (let last = -1, turns = 0; turns < 30; turns++) {
    if (figure() !== last) turns = 0;
    last = figure();
    raw.write('.');
    bytes++;
    await raw.until((received) => received.length === bytes);
  }
  raw.socket.destroy();
  await echo.close();
}
