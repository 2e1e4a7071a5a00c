/**
 * What is known of a client's patience: the age at which its own timeout ends its calls. It is learned
 * from waiting calls whose client disconnects at about the same age, again and again.
 *
 * A plain record, like a bucket; the functions below take the time as `now`.
 */
export interface Patience {
  /** The learned age, in milliseconds from a call's arrival; `undefined` until it is learned. */
  knownMs: number | undefined;
  /** The ages of the latest disconnects that agree with each other, at most {@link EVIDENCE}. */
  ages: number[];
  /** When the latest disconnect was counted. */
  countedAt: number;
  /** When a call may next wait longer, to test whether the client still disconnects. */
  trialAt: number;
}

/** What an event changed. */
export type PatienceChange = 'learned' | 'forgotten' | undefined;

/** This many disconnects in a row must agree. */
const EVIDENCE = 5;
/**
 * Ages agree if they differ by at most this or this share: the network delays the request and the end
 * of the connection differently. Five ages of people who press Ctrl-C rarely agree so well.
 */
const AGREE_MS = 1000;
const AGREE_SHARE = 0.1;
/**
 * Disconnects within this time count once. A process that ends closes all its connections at once,
 * and calls that arrived together then have the same age without any timeout.
 */
const MOMENT_MS = 1000;
/** Clients with a shorter timeout do not wait at all. */
const LEAST_AGE_MS = 1000;
/** An answer refutes a patience if its call was older than that by this factor. */
const REFUTED_BY = 1.1;
/** How long a patience is believed before it is tested. */
const TRIAL_AFTER_MS = 3_600_000;
/** The time between two calls that test it. Most of them are granted too early to show anything. */
const NEXT_TRIAL_MS = 60_000;
/** The part of the patience in which the API must answer, and the answer reach the client. */
const MARGIN_MS = 1000;
const MARGIN_SHARE = 0.15;

export function makePatience(): Patience {
  return { knownMs: undefined, ages: [], countedAt: Number.NEGATIVE_INFINITY, trialAt: 0 };
}

/** A client disconnected when its call, which waited, was `ageMs` old. */
export function gaveUp(patience: Patience, ageMs: number, now: number): PatienceChange {
  if (ageMs < LEAST_AGE_MS) return undefined;
  const { knownMs } = patience;
  if (knownMs !== undefined) {
    if (agree(knownMs, ageMs)) {
      patience.trialAt = now + TRIAL_AFTER_MS;
      return undefined;
    }
    if (ageMs > knownMs) patience.knownMs = undefined;
  }
  count(patience, ageMs, now);
  if (patience.ages.length < EVIDENCE) {
    return knownMs !== undefined && patience.knownMs === undefined ? 'forgotten' : undefined;
  }
  patience.knownMs = Math.min(...patience.ages);
  patience.ages = [];
  patience.trialAt = now + TRIAL_AFTER_MS;
  return 'learned';
}

/** A call that waited received its answer when it was `ageMs` old. */
export function wasAnswered(patience: Patience, ageMs: number): PatienceChange {
  const { knownMs, ages } = patience;
  if (ages.length > 0 && ageMs >= REFUTED_BY * Math.min(...ages)) patience.ages = [];
  if (knownMs === undefined || ageMs < REFUTED_BY * knownMs) return undefined;
  patience.knownMs = undefined;
  return 'forgotten';
}

/**
 * The patience that applies to a call that arrives now; `undefined` if none is known, or if the call
 * tests it. A patience without tests would last for ever: its calls end before they could refute it.
 */
export function patienceAt(patience: Patience, now: number): number | undefined {
  if (patience.knownMs === undefined || now < patience.trialAt) return patience.knownMs;
  patience.trialAt = now + NEXT_TRIAL_MS;
  return undefined;
}

/** How long a call of a client with this patience may wait for the start of its last attempt. */
export function longestWaitMs(patienceMs: number): number {
  const marginMs = Math.max(Math.min(MARGIN_MS, patienceMs / 2), MARGIN_SHARE * patienceMs);
  return patienceMs - marginMs;
}

/** Adds an age to those that agree, or begins with it anew. */
function count(patience: Patience, ageMs: number, now: number): void {
  const { ages } = patience;
  const agrees = ages.every((other) => agree(other, ageMs));
  if (now - patience.countedAt <= MOMENT_MS) {
    // Other ages at the same moment: the process ended.
    if (!agrees) patience.ages = [];
    return;
  }
  patience.countedAt = now;
  if (agrees) ages.push(ageMs);
  else patience.ages = [ageMs];
}

function agree(one: number, other: number): boolean {
  return Math.abs(one - other) <= Math.max(AGREE_MS, AGREE_SHARE * Math.min(one, other));
}
