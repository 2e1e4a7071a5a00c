import type { Clock } from '../../util/clock.ts';
import { LinkedList, type LinkedListItem } from '../../util/linked-list.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import type { Call } from '../call.ts';
import type { CallLimits } from '../identify/call-limits.ts';
import { GatewayError } from '../problem.ts';

const TICK_MS = 1000;
/** A transfer counts from here on, and sockets must have been short for as long. */
const GRACE_TICKS = 5;
/** Sockets are free again about as soon as the transfers have been cut off. */
const RETRY_MS = 1000;

/** A body on its way between a caller and the API. It holds a socket to the API until it ends. */
interface Transfer extends LinkedListItem<Transfer> {
  readonly call: Call;
  /** Whether it stands still because its caller does not send, or does not read. */
  readonly waitsForCaller: () => boolean;
  /** At how many ticks it waited for its caller. */
  ticksWaited: number;
}

/**
 * Bounds the sockets to the API that one owner's slow callers hold. An owner is the party that the
 * queue is fair to.
 *
 * A socket is held until its caller has sent or read everything, so callers that are slow on purpose
 * could hold all sockets. An owner may hold them all while no other owner has a call under way, or
 * while some are free. Otherwise the owners that have slow transfers and all others together are
 * parties with equal shares: a single slow owner may hold half of the sockets. A transfer is slow when
 * it has waited for its caller for five seconds. The newest slow ones beyond an owner's share are cut
 * off with `socket-share`.
 */
export class SocketShare {
  readonly #clock: Clock;
  readonly #upstream: Pick<Upstream, 'inUse'>;
  readonly #connections: number;
  readonly #callLimits: Pick<CallLimits, 'owners'>;
  readonly #transfers = new LinkedList<Transfer>();
  #isTicking = false;
  #ticksWithoutFree = 0;

  constructor(options: {
    readonly clock: Clock;
    readonly upstream: Pick<Upstream, 'inUse'>;
    /** How many sockets to the API there are. */
    readonly connections: number;
    readonly callLimits: Pick<CallLimits, 'owners'>;
  }) {
    this.#clock = options.clock;
    this.#upstream = options.upstream;
    this.#connections = options.connections;
    this.#callLimits = options.callLimits;
  }

  /** Watches a transfer of `call` until the result is called. */
  watch(call: Call, waitsForCaller: () => boolean): () => void {
    const transfer: Transfer = {
      call,
      waitsForCaller,
      ticksWaited: 0,
      isLinked: false,
      previous: undefined,
      next: undefined,
    };
    this.#transfers.add(transfer);
    if (!this.#isTicking) this.#tickLater();
    return () => void this.#transfers.delete(transfer);
  }

  /** The timer runs only while there are transfers: most calls are over before it is due. */
  #tickLater(): void {
    this.#isTicking = true;
    this.#clock.after(TICK_MS, () => this.#tick());
  }

  #tick(): void {
    if (this.#transfers.size === 0) {
      this.#isTicking = false;
      this.#ticksWithoutFree = 0;
      return;
    }
    for (let it = this.#transfers.first; it !== undefined; it = it.next) {
      if (it.waitsForCaller()) it.ticksWaited++;
    }
    const isShort = this.#upstream.inUse >= this.#connections && this.#callLimits.owners > 1;
    this.#ticksWithoutFree = isShort ? this.#ticksWithoutFree + 1 : 0;
    if (this.#ticksWithoutFree >= GRACE_TICKS) this.#cutOffBeyondShare();
    this.#tickLater();
  }

  #cutOffBeyondShare(): void {
    const slow = this.#transfers.all.filter(({ ticksWaited }) => ticksWaited >= GRACE_TICKS);
    const byOwner = Map.groupBy(slow, ({ call }) => call.countedFor);
    const parties = Math.min(byOwner.size + 1, this.#callLimits.owners);
    const share = Math.max(1, Math.floor(this.#connections / parties));
    for (const transfers of byOwner.values()) {
      for (const { call } of transfers.slice(share)) call.cutOff(tooMany(share));
    }
  }
}

function tooMany(share: number): GatewayError {
  const why = `other callers need a socket to the API, and ${share} bodies of this caller that it sends or reads slowly hold one already`;
  return new GatewayError('socket-share', why, { retryAfterMs: RETRY_MS });
}
