import type { Transform } from 'node:stream';
import type { ClassRule } from '../../http/classify.ts';
import { readSettledCost } from '../../http/cost-rule.ts';
import { JsonScalarScanner } from '../../http/json-scalars.ts';
import { isJson } from '../../http/media-type.ts';
import type { HeaderRecord, RateHeaders } from '../../rate-headers/rate-headers.ts';
import type { Log } from '../../telemetry/log.ts';
import type { BodyWatcher, UpstreamResponse } from '../../upstream/response.ts';
import type { Clock, Timer } from '../../util/clock.ts';
import { makeOncePerMinute } from '../../util/once-per-minute.ts';
import { codingOf, CODINGS } from '../respond/content-codings.ts';

/** Adds what the call did cost, if a header of the answer is configured to state it. */
export function withCostInHeader(
  rateHeaders: RateHeaders,
  { settleCost }: ClassRule,
  headers: HeaderRecord,
): RateHeaders {
  if (settleCost === undefined || !('header' in settleCost)) return rateHeaders;
  const cost = readSettledCost(String(headers[settleCost.header]));
  return cost === undefined ? rateHeaders : { ...rateHeaders, cost };
}

/**
 * Reads what a call did cost from the body of its answer while the body passes to the caller, and calls
 * `onCost` once: with `undefined` if the body does not state it. If the body is complete and has no
 * content coding, it is called before this returns.
 */
export type WatchCost = (
  { name, pointer }: { readonly name: string; readonly pointer: string },
  response: UpstreamResponse,
  onCost: (cost: number | undefined) => void,
) => void;

/** How much of a body is read, decoded. */
const MAX_WATCHED_BYTES = 1024 * 1024;
/**
 * How long a body is read. The grant stays a lease for that time, at the cost that it was given for;
 * leases expire after ten seconds.
 */
const MAX_WATCHED_MS = 5000;

/** Why a body does not show the cost. */
type Missed = 'absent' | 'coding' | 'late' | 'size' | 'type';

type OnEnd = (cost: number | undefined, why: Missed | undefined) => void;

export function makeWatchCost({ clock, log }: WarnDependencies): WatchCost {
  const warnOfMissed = makeWarnOfMissed({ clock, log });

  return function watchCost({ name, pointer }, response, onCost) {
    const { status, headers } = response;
    const end: OnEnd = (cost, why) => {
      // An answer that reports a failure need not state a cost.
      if (why !== undefined && status < 300) warnOfMissed(name, pointer, why);
      onCost(cost);
    };
    const type = headers['content-type'];
    if (!isJson(type)) return end(undefined, type === undefined ? undefined : 'type');
    const coding = codingOf(headers);
    if (!CODINGS.has(coding)) return end(undefined, 'coding');
    const watch = new CostWatch(pointer, CODINGS.get(coding)?.decoder(), (cost, why) => {
      response.unwatch();
      end(cost, why);
    });
    response.watch(watch);
    watch.stopAfter(MAX_WATCHED_MS, clock);
  };
}

/** A longer scalar is no number. */
const MAX_VALUE = 64;

/** Reads one number from a JSON body, and keeps nothing of the body but a part of a scalar. */
class CostWatch implements BodyWatcher {
  readonly #scanner: JsonScalarScanner;
  readonly #decoder: Transform | undefined;
  readonly #onEnd: OnEnd;
  /** The beginning of the scalar whose end has not arrived, and its position. */
  #kept = '';
  #keptAt = 0;
  /** How many bytes have arrived, and how many were read after decoding. */
  #arrived = 0;
  #read = 0;
  #isOver = false;
  #timer: Timer | undefined;

  constructor(pointer: string, decoder: Transform | undefined, onEnd: OnEnd) {
    // The text is read as one character per byte.
    this.#scanner = new JsonScalarScanner([Buffer.from(pointer).toString('latin1')]);
    this.#decoder = decoder;
    this.#onEnd = onEnd;
    decoder?.on('data', (plain: Buffer) => this.#scan(plain));
    decoder?.on('end', () => this.#endOfBody());
    decoder?.on('error', () => this.#end(undefined, 'coding'));
  }

  stopAfter(ms: number, clock: Clock): void {
    if (this.#isOver) return;
    this.#timer = clock.after(ms, () => this.#end(undefined, 'late'));
  }

  chunk(bytes: Buffer): void {
    if (this.#isOver) return;
    this.#arrived += bytes.length;
    if (this.#decoder === undefined) this.#scan(bytes);
    else if (this.#arrived > MAX_WATCHED_BYTES) this.#end(undefined, 'size');
    else this.#decoder.write(bytes);
  }

  end(isComplete: boolean): void {
    if (this.#isOver) return;
    if (!isComplete) this.#end(undefined, undefined);
    else if (this.#decoder === undefined || this.#arrived === 0) this.#endOfBody();
    else this.#decoder.end();
  }

  #scan(plain: Buffer): void {
    if (this.#isOver) return;
    const part = plain.toString('latin1', 0, MAX_WATCHED_BYTES - this.#read);
    this.#read += plain.length;
    const text = this.#kept + part;
    const [found] = this.#scanner.push(part);
    if (found !== undefined) {
      const scalar = text.slice(found.start - this.#keptAt, found.end - this.#keptAt);
      const cost = readSettledCost(scalar.replaceAll('"', '').trim());
      return this.#end(cost, cost === undefined ? 'absent' : undefined);
    }
    if (this.#read >= MAX_WATCHED_BYTES) return this.#end(undefined, 'size');
    const end = this.#keptAt + text.length;
    const from = this.#scanner.openScalar ?? end;
    this.#kept = text.slice(from - this.#keptAt);
    this.#keptAt = from;
    if (this.#kept.length > MAX_VALUE) this.#end(undefined, 'absent');
  }

  #endOfBody(): void {
    this.#end(undefined, this.#arrived === 0 ? undefined : 'absent');
  }

  #end(cost: number | undefined, why: Missed | undefined): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#timer?.cancel();
    this.#decoder?.destroy();
    this.#onEnd(cost, why);
  }
}

interface WarnDependencies {
  readonly clock: Clock;
  readonly log: Pick<Log, 'warn'>;
}

/** Reports answers that do not show their cost, at most once a minute for each class. */
function makeWarnOfMissed({
  clock,
  log,
}: WarnDependencies): (className: string, pointer: string, why: Missed) => void {
  /** One for each class of the settings that has such a pointer. */
  const classes = new Map<
    string,
    { readonly mayWarn: () => boolean; answers: Partial<Record<Missed, number>> }
  >();
  return (className, pointer, why) => {
    const known = classes.get(className) ?? { mayWarn: makeOncePerMinute(clock), answers: {} };
    classes.set(className, known);
    known.answers[why] = (known.answers[why] ?? 0) + 1;
    if (!known.mayWarn()) return;
    log.warn({ class: className, settleCost: pointer, ...known.answers }, 'cost not found');
    known.answers = {};
  };
}
