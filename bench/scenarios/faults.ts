import { FAULTS, type FaultResult } from '../../test/support/redis-faults.ts';
import type { Figure } from '../support/figures.ts';

/** In percent. A planned replacement loses no lease, so it may cost less than a failure. */
const MAX_REFUSED = 5;
const MAX_REFUSED_BY_REPLACEMENT = 1;

/** Runs each fault of Redis and of replicas under load, one after the other. */
export async function measureFaults(): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const [name, run] of Object.entries(FAULTS)) {
    const closers: (() => Promise<unknown>)[] = [];
    try {
      figures.push(...figuresOf(name, await run((close) => closers.push(close))));
    } finally {
      for (const close of closers.toReversed()) await close();
    }
  }
  return figures;
}

function figuresOf(name: string, result: FaultResult): Figure[] {
  const { calls, statuses, refusedShare, lostMessages } = result;
  const what = `3 replicas, ${name}`;
  return [
    {
      what: `${what}: refused by the API`,
      value: 100 * refusedShare,
      unit: ' %',
      goal: {
        at: 'most',
        bound: name.includes('is replaced') ? MAX_REFUSED_BY_REPLACEMENT : MAX_REFUSED,
      },
    },
    {
      what: `${what}: answers to callers other than 200`,
      value: calls - (statuses[200] ?? 0),
      unit: '',
      goal: { at: 'most', bound: 0 },
    },
    ...(lostMessages === undefined
      ? []
      : [
          {
            what: `${what}: lost messages`,
            value: lostMessages,
            unit: '',
            goal: { at: 'least', bound: 1 } as const,
          },
        ]),
  ];
}
