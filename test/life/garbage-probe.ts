import { GCProfiler } from 'node:v8';

/**
 * Loaded into the gateway before it starts (`--import`). On SIGUSR2 it says, in a line like the log's,
 * how much the minor collections since the last SIGUSR2 looked at, and how much of that they kept.
 */
let profiler = started();

process.on('SIGUSR2', () => {
  const statistics = profiler.stop()?.statistics ?? [];
  profiler = started();
  let seen = 0;
  let kept = 0;
  for (const { gcType, beforeGC, afterGC } of statistics) {
    if (gcType !== 'Scavenge') continue;
    const young = beforeGC.heapSpaceStatistics.find(({ spaceName }) => spaceName === 'new_space');
    if (young === undefined) throw new Error('this version of V8 names its spaces otherwise');
    seen += young.spaceUsedSize;
    const freed = beforeGC.heapStatistics.usedHeapSize - afterGC.heapStatistics.usedHeapSize;
    kept += young.spaceUsedSize - freed;
  }
  process.stdout.write(`${JSON.stringify({ seen, kept, msg: 'garbage' })}\n`);
});

function started(): GCProfiler {
  const next = new GCProfiler();
  next.start();
  return next;
}
