import { DEMO_USAGE, readOptions, type DemoOptions } from './options.ts';
import { makeScreen } from './screen.ts';
import { setStage } from './stage.ts';
import { makeCallers, sendTraffic } from './traffic.ts';
import { failed, summary, throttled, type Moment } from './view.ts';

/** The API's limit per window, and the number of windows that the calls fill. */
const LIMIT = 40;
const WINDOWS = 6;
/** The callers send this many times faster than the limit. */
const PRESSURE = 3;
const REFRESH_MS = 100;

const line = readOptions(process.argv.slice(2));
if (line.kind === 'run') {
  process.exitCode = await demo(line.options);
} else if (line.kind === 'help') {
  process.stdout.write(DEMO_USAGE);
} else {
  process.stderr.write(`demo: ${line.reason}\n\n${DEMO_USAGE}`);
  process.exitCode = 2;
}

/** Runs the demo. Resolves to 0 if every call was served and no caller got a 429, else to 1. */
async function demo({ seconds, callers: count }: DemoOptions): Promise<number> {
  const periodMs = (seconds * 1000) / WINDOWS;
  const calls = LIMIT * WINDOWS;
  const stage = await setStage({ limit: LIMIT, periodMs });
  const callers = makeCallers(count);
  const stop = new AbortController();
  const onSignal = (): void => stop.abort();
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  const startedAt = performance.now();
  const moment = async (): Promise<Moment> => ({
    elapsedMs: performance.now() - startedAt,
    limit: LIMIT,
    periodMs,
    calls,
    bucket: await stage.bucket(),
    callers,
    throttledByApi: stage.throttledByApi,
  });
  const screen = makeScreen(process.stdout, Math.min(1000, seconds * 50));
  try {
    screen.open(await moment());
    const traffic = sendTraffic({
      gatewayUrl: stage.gatewayUrl,
      callers,
      calls,
      callsPerSecond: (PRESSURE * LIMIT * 1000) / periodMs,
      signal: stop.signal,
    }).then(() => 'over' as const);
    do {
      screen.show(await moment());
    } while ((await Promise.race([traffic, pause(REFRESH_MS)])) !== 'over');
    const last = await moment();
    await stage.close();
    const { callLines, lastCallLine } = stage;
    const interrupted = stop.signal.aborted;
    screen.close(last, summary({ ...last, interrupted, callLines, lastCallLine }));
    return interrupted || throttled(callers) + failed(callers) === 0 ? 0 : 1;
  } finally {
    screen.restore();
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
