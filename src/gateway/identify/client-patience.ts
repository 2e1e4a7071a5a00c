import type { IncomingHttpHeaders } from 'node:http';
import { LRUCache } from 'lru-cache';
import { productOf } from '../../queue/caller-rules.ts';
import {
  gaveUp,
  longestWaitMs,
  makePatience,
  patienceAt,
  wasAnswered,
  type Patience,
  type PatienceChange,
} from '../../queue/patience.ts';
import type { Ticket } from '../../ledger/ledger.ts';
import type { Log } from '../../telemetry/log.ts';

/** A client as far as its timeout depends on it. */
interface Client {
  readonly caller: string;
  /** The first product of the User-Agent; empty if there is none. */
  readonly product: string;
  readonly patience: Patience;
}

interface Request {
  readonly headers: IncomingHttpHeaders;
}

type Arrival = Pick<Ticket, 'owner' | 'caller' | 'arrivedAt'>;

/** The owners whose clients are remembered, and how many of each: the latest. */
const MOST_OWNERS = 1000;
const MOST_CLIENTS_OF_OWNER = 16;
/** A longer product is no name of a client. */
const MOST_PRODUCT = 64;

/**
 * Learns how long clients wait before they give up: a client is an owner's caller with a product in
 * its User-Agent. One owner cannot shorten the waits of another, whatever names it states. A call that
 * states its own wait in `Headgate-Max-Wait` neither teaches nor is limited.
 *
 * Clients of which nothing was seen cost each call a lookup, and nothing more.
 */
export class ClientPatience {
  readonly #log: Pick<Log, 'info'>;
  readonly #byOwner = new LRUCache<string, Client[]>({ max: MOST_OWNERS });

  constructor(log: Pick<Log, 'info'>) {
    this.#log = log;
  }

  /** The learned patience that applies to a call that arrives now, in milliseconds. */
  at(
    now: number,
    owner: string,
    caller: string,
    userAgent: string | undefined,
  ): number | undefined {
    const client = find(this.#byOwner.peek(owner), caller, userAgent);
    return client === undefined ? undefined : patienceAt(client.patience, now);
  }

  /** The client of a waiting call disconnected now. */
  gaveUp(ticket: Arrival, { headers }: Request, now: number): void {
    if (statesWait(headers)) return;
    const { owner, caller, arrivedAt } = ticket;
    const product = productOf(headers['user-agent']) ?? '';
    if (product.length > MOST_PRODUCT) return;
    const clients = this.#byOwner.get(owner) ?? [];
    this.#byOwner.set(owner, clients);
    const client = find(clients, caller, product) ?? {
      caller,
      // A copy: a part of a header would keep the whole header in memory.
      product: Buffer.from(product).toString(),
      patience: makePatience(),
    };
    const at = clients.indexOf(client);
    if (at >= 0) clients.splice(at, 1);
    else if (clients.length >= MOST_CLIENTS_OF_OWNER) clients.shift();
    clients.push(client);
    this.#report(client, gaveUp(client.patience, now - arrivedAt, now));
  }

  /** A call that waited received its answer, whose head arrived when the call was `ageMs` old. */
  answered({ owner, caller }: Arrival, { headers }: Request, ageMs: number): void {
    if (statesWait(headers)) return;
    const client = find(this.#byOwner.peek(owner), caller, headers['user-agent']);
    if (client !== undefined) this.#report(client, wasAnswered(client.patience, ageMs));
  }

  #report({ caller, product, patience }: Client, change: PatienceChange): void {
    if (change === undefined) return;
    const client = { caller, userAgent: product };
    const { knownMs } = patience;
    if (knownMs === undefined) {
      this.#log.info(client, 'patience forgotten');
      return;
    }
    const maxWaitMs = Math.round(longestWaitMs(knownMs));
    this.#log.info({ ...client, patienceMs: Math.round(knownMs), maxWaitMs }, 'patience learned');
  }
}

function find(
  clients: readonly Client[] | undefined,
  caller: string,
  userAgent: string | undefined,
): Client | undefined {
  if (clients === undefined) return undefined;
  // The product is read for callers alone of which something was seen.
  return clients.find(
    (client) => client.caller === caller && client.product === (productOf(userAgent) ?? ''),
  );
}

function statesWait(headers: IncomingHttpHeaders): boolean {
  return headers['headgate-max-wait'] !== undefined;
}
