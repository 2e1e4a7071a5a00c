import { Agent } from 'node:http';
import { call, Tally, uploadSlowly, type Target } from './callers.ts';

/** Kinds of calls that a gateway serves over months, here within minutes. */
export interface Churn {
  readonly tallies: Readonly<Record<string, Tally>>;
  /** Calls that were not started because too many were under way. */
  readonly skipped: number;
  stop(): Promise<void>;
}

interface Kind {
  readonly name: string;
  readonly perSecond: number;
  readonly start: (tally: Tally, number: number) => Promise<void>;
  /** How many calls were due so far, with those that were left out. */
  due: number;
}

const TICK_MS = 100;
/** The load is bounded as well: beyond this, new calls are left out. */
const MAX_UNDER_WAY = 2000;

/** Starts calls of all kinds at steady rates. */
export function startChurn(target: Target): Churn {
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  const kinds: readonly Kind[] = [
    {
      name: 'steady callers',
      perSecond: 60,
      due: 0,
      start: (tally, n) =>
        call(target, tally, {
          agent,
          path: `/zones/${n % 50}?page=${n}`,
          headers: {
            authorization: `token known-${n % 5}`,
            'headgate-caller': `service-${n % 20}`,
          },
        }),
    },
    {
      name: 'new credentials, callers and routes',
      perSecond: 20,
      due: 0,
      start: (tally, n) =>
        call(target, tally, {
          agent,
          path: `/route-${n}/${n}`,
          headers: { authorization: `token new-${n}`, 'headgate-caller': `new-${n}` },
        }),
    },
    {
      name: 'bodies',
      perSecond: 10,
      due: 0,
      start: (tally, n) =>
        call(target, tally, {
          agent,
          method: 'POST',
          path: '/records',
          headers: { authorization: `token known-${n % 5}` },
          body: Buffer.alloc(20_000),
        }),
    },
    {
      name: 'reconnecting callers',
      perSecond: 10,
      due: 0,
      start: (tally, n) =>
        call(target, tally, {
          from: `127.0.0.${10 + (n % 40)}`,
          headers: { authorization: `token known-${n % 5}` },
        }),
    },
    {
      name: 'callers that disconnect',
      perSecond: 10,
      due: 0,
      start: (tally, n) =>
        call(target, tally, {
          path: n % 2 === 0 ? '/held' : '/big',
          headers: { authorization: `token known-${n % 5}` },
          abortAfterMs: n % 200,
        }),
    },
    {
      name: 'slow readers',
      perSecond: 1,
      due: 0,
      start: (tally, n) =>
        call(target, tally, {
          path: '/big',
          headers: { authorization: `token known-${n % 5}` },
          readEveryMs: 20,
        }),
    },
    {
      name: 'slow writers',
      perSecond: 1,
      due: 0,
      start: (tally, n) =>
        uploadSlowly(target, tally, {
          from: `127.0.0.${50 + (n % 10)}`,
          bytes: 2 * 1024 ** 2,
          bytesPerSecond: 400 * 1024,
        }),
    },
  ];
  const tallies = Object.fromEntries(kinds.map(({ name }) => [name, new Tally()]));
  const underWay = new Set<Promise<void>>();
  let skipped = 0;
  const startedAt = performance.now();
  const timer = setInterval(() => {
    const seconds = (performance.now() - startedAt) / 1000;
    for (const kind of kinds) {
      const tally = tallies[kind.name];
      if (tally === undefined) continue;
      for (; kind.due < kind.perSecond * seconds; kind.due++) {
        if (underWay.size >= MAX_UNDER_WAY) skipped++;
        else {
          const ended: Promise<void> = kind
            .start(tally, kind.due)
            .finally(() => underWay.delete(ended));
          underWay.add(ended);
        }
      }
    }
  }, TICK_MS);
  return {
    tallies,
    get skipped() {
      return skipped;
    },
    async stop() {
      clearInterval(timer);
      await Promise.all(underWay);
      agent.destroy();
    },
  };
}
