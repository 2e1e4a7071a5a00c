import type {
  CallerSignal,
  Cancelled,
  Granted,
  Ledger,
  Shed,
  Ticket,
} from '../../src/ledger/ledger.ts';
import type { Priority } from '../../src/queue/flow.ts';
import { ApiClock } from '../../src/rate-headers/api-clock.ts';
import type { FakeClock } from './fake-clock.ts';
import type { FakePermits } from './ledger-driver.ts';
import { makeLimiter, type LimiterOptions, type Semantics } from './limiter.ts';
import { seededRandom } from './seeded-random.ts';
import { utilisationOf } from './utilisation.ts';

export interface FloodOptions extends LimiterOptions {
  readonly semantics: Semantics;
  /** Each has all its calls at once, or at most `atOnce` of them at a time. */
  readonly floods: readonly {
    readonly calls: number;
    readonly atOnce?: number;
    readonly priority?: Priority;
  }[];
  /** How many owners send a call now and then, and how many calls a period they send in all. */
  readonly visitors?: { readonly owners: number; readonly perPeriod: number };
  /** An owner that sends so many calls at once, at these times in periods. */
  readonly bursts?: {
    readonly owner: string;
    readonly calls: number;
    readonly at: readonly number[];
  };
  readonly seed?: number;
}

export interface FloodResult {
  /** How long each call of a visitor waited, but its first, divided by the period. */
  readonly waits: readonly number[];
  /** How long each call of the bursts waited, divided by the period. */
  readonly burstWaits: readonly number[];
  /** When each flood had its last answer, in periods. */
  readonly doneAt: readonly number[];
  /** When each call of the floods was granted. */
  readonly granted: readonly number[];
  readonly utilisation: number;
  readonly refused: number;
}

/** A way to the ledgers of the replicas, which get the calls in turn. */
export interface FloodWorld {
  readonly clock: FakeClock;
  readonly replicas: readonly {
    readonly ledger: Ledger;
    readonly permits: FakePermits;
    readonly apiClock: ApiClock;
  }[];
  /** Lets everything finish that is under way at this moment of the clock. */
  readonly quiet: () => Promise<void>;
}

const HERE: CallerSignal = { gone: false, onGone: () => () => undefined };
/** A call takes this long to the API, and as long again its answer. */
const ONE_WAY_MS = [2, 8] as const;
/** The most tickets of a flood that wait at a time, in limits. */
const WAITING_LIMITS = 2;

/** An API clock that is known within 5 ms. */
export function knownApiClock(clock: FakeClock): ApiClock {
  const apiClock = new ApiClock();
  const dateMs = Math.floor(clock.wallMs() / 1000) * 1000;
  const receivedAt = clock.now() + (dateMs - clock.wallMs()) + 5;
  apiClock.observe({ dateMs, sentAt: receivedAt - 10, receivedAt });
  apiClock.observe({ dateMs: dateMs - 1000, sentAt: receivedAt - 10, receivedAt });
  return apiClock;
}

/** Runs floods and visitors in front of one API until the floods have all their answers. */
export async function simulateFlood(
  world: FloodWorld,
  options: FloodOptions,
): Promise<FloodResult> {
  const { clock, replicas, quiet } = world;
  const { semantics, limit, periodMs, floods, visitors, bursts, seed = 1 } = options;
  const random = seededRandom(seed);
  const limiter = makeLimiter(semantics, options);
  const start = clock.now();
  const waits: number[] = [];
  const burstWaits: number[] = [];
  const granted: number[] = [];
  const halfAt: number[] = [];
  const doneAt = floods.map(() => 0);
  const ready: (() => void)[] = [];
  let [served, refused, number] = [0, 0, 0];
  const isOver = (): boolean => !doneAt.includes(0);
  let lastFullAt = 0;
  const oneWay = (): number => ONE_WAY_MS[0] + (ONE_WAY_MS[1] - ONE_WAY_MS[0]) * random();

  const call = (
    owner: string,
    priority: Priority,
    onGranted: () => void,
    onAnswered: () => void,
  ): void => {
    const replica = replicas[number++ % replicas.length];
    if (replica === undefined) throw new Error('expected a replica');
    const { ledger, permits, apiClock } = replica;
    const ticket: Ticket = {
      id: `t${number}`,
      bucket: { id: 'b', class: 'read' },
      owner,
      caller: owner,
      priority,
      weight: 1,
      arrivedAt: clock.now(),
      deadlineAt: clock.now() + 1e9,
    };
    const send = ({ grant }: Granted): void => {
      const sentAt = clock.now();
      clock.after(oneWay(), () => {
        const verdict = limiter.take(clock.wallMs());
        const dateMs = Math.floor(clock.wallMs() / 1000) * 1000;
        if (!verdict.allowed) refused++;
        else if (++served % limit === Math.floor(limit / 2)) halfAt.push(clock.now());
        clock.after(oneWay(), () => {
          const receivedAt = clock.now();
          apiClock.observe({ dateMs, sentAt, receivedAt });
          const reset = { kind: 'instant', atMs: verdict.resetAtMs, resolutionMs: 0.001 } as const;
          const reading = { limit: verdict.limit, remaining: verdict.remaining, reset };
          const status = verdict.allowed ? 200 : 429;
          const answer = { status, reading, sentAt, receivedAt };
          ledger.settle(grant, { kind: 'answered', answer });
          permits.release();
          onAnswered();
        });
      });
    };
    const decided = (outcome: Granted | Shed | Cancelled): void => {
      if (outcome.kind !== 'granted') throw new Error(`expected a grant, got ${outcome.kind}`);
      onGranted();
      send(outcome);
    };
    const admission = ledger.acquire(ticket, HERE);
    if (admission.kind !== 'waiting') return decided(admission);
    void admission.outcome.then((outcome) => ready.push(() => decided(outcome)));
  };

  for (const [i, { calls, atOnce = Infinity, priority = 'normal' }] of floods.entries()) {
    let [sent, inHand, answered] = [0, 0, 0];
    const most = Math.min(atOnce, WAITING_LIMITS * limit + 10);
    const fill = (): void => {
      while (sent < calls && inHand < most) {
        sent++;
        inHand++;
        const leave = (): void => {
          inHand--;
          fill();
        };
        call(
          `flood-${i}`,
          priority,
          () => {
            granted.push(clock.now() - start);
            if (atOnce === Infinity) ready.push(leave);
          },
          () => {
            if (atOnce !== Infinity) leave();
            if (++answered < calls) return;
            doneAt[i] = (clock.now() - start) / periodMs;
            if (lastFullAt === 0) lastFullAt = clock.now();
          },
        );
      }
    };
    clock.after(0, fill);
  }
  for (const at of bursts?.at ?? []) {
    const { owner = '', calls = 0 } = bursts ?? {};
    clock.after(at * periodMs, () => {
      const burstAt = clock.now();
      const wait = (): unknown => burstWaits.push((clock.now() - burstAt) / periodMs);
      for (let i = 0; i < calls; i++) call(owner, 'normal', wait, () => undefined);
    });
  }
  if (visitors !== undefined) {
    const seen = new Set<string>();
    const visit = (): void => {
      if (isOver()) return;
      const at = clock.now();
      const owner = `visitor-${Math.floor(random() * visitors.owners)}`;
      call(
        owner,
        'normal',
        () => {
          if (seen.has(owner)) waits.push((clock.now() - at) / periodMs);
          seen.add(owner);
        },
        () => undefined,
      );
      clock.after(((0.5 + random()) * periodMs) / visitors.perPeriod, visit);
    };
    clock.after(random() * periodMs, visit);
  }
  while (!isOver()) {
    await quiet();
    while (ready.length > 0) {
      for (const run of ready.splice(0)) run();
      await quiet();
    }
    const next = clock.nextAt();
    if (next === undefined) throw new Error('expected a timer');
    clock.advance(Math.max(0, next - clock.now()));
  }
  const full = halfAt.filter((at) => at <= lastFullAt);
  const utilisation = utilisationOf(full, periodMs);
  return { waits, burstWaits, doneAt, granted, utilisation, refused };
}

/** The value below which `part` of the values are. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0;
}
