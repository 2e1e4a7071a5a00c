import { GCProfiler } from 'node:v8';

/**
 * Loaded into the gateway before it starts (`--import`). At each SIGUSR2 it writes a line like the
 * log's about the minor collections since the last SIGUSR2: `seen` is the size of the young
 * generation that they looked at, `kept` is how much of it they kept, both in bytes.
 */
let profiler = startProfiler();

process.on('SIGUSR2', () => {
  const statistics = profiler.stop()?.statistics ?? [];
  profiler = startProfiler();
  let seen = 0;
  let kept = 0;
  for (const { gcType, beforeGC, afterGC } of statistics) {
    if (gcType !== 'Scavenge') continue;
    const young = beforeGC.heapSpaceStatistics.find(({ spaceName }) => spaceName === 'new_space');
    if (young === undefined) throw new Error('expected a heap space new_space in V8');
    seen += young.spaceUsedSize;
    const freed = beforeGC.heapStatistics.usedHeapSize - afterGC.heapStatistics.usedHeapSize;
    kept += young.spaceUsedSize - freed;
  }
  process.stdout.write(`${JSON.stringify({ seen, kept, msg: 'garbage' })}\n`);
});

function startProfiler(): GCProfiler {
  const next = new GCProfiler();
  next.start();
  return next;
}
