import { describe, expect, test } from 'vitest';
import { makeRenewedToken, type ObtainedToken } from '../../src/upstream/renewed-token.ts';
import type { TokenSource } from '../../src/upstream/token.ts';
import { FakeClock } from '../support/fake-clock.ts';

interface Setup {
  readonly clock: FakeClock;
  readonly source: TokenSource;
  /** What happened: the last token that each attempt was given, and each line of the log. */
  readonly events: string[];
  /** The outcomes of the next attempts; the last one is repeated. */
  readonly outcomes: (string | Error)[];
  /** Resolves when no attempt is under way. */
  readonly settle: () => Promise<void>;
}

async function setUp(
  renewAfterMs: number | undefined,
  ...outcomes: (string | Error)[]
): Promise<Setup> {
  const clock = new FakeClock();
  const events: string[] = [];
  const obtain = async (last: string | undefined): Promise<ObtainedToken> => {
    events.push(`after ${last ?? 'nothing'}`);
    await Promise.resolve();
    const outcome = outcomes.length > 1 ? outcomes.shift() : outcomes[0];
    if (outcome instanceof Error) throw outcome;
    return { token: outcome ?? '', renewAfterMs };
  };
  const note = (_fields: object, msg?: string): void => void events.push(msg ?? '');
  const source = await makeRenewedToken({ obtain, clock, log: { info: note, error: note } });
  events.length = 0;
  const settle = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
  return { clock, source, events, outcomes, settle };
}

describe('a token that is renewed', () => {
  test('is obtained again when its time is over', async () => {
    const { clock, source, events, settle } = await setUp(90_000, 'one', 'two');
    expect(source.current()).toBe('one');
    clock.advance(89_999);
    expect(events).toEqual([]);
    clock.advance(1);
    await settle();
    expect(source.current()).toBe('two');
    expect(events).toEqual(['after one', 'token renewed']);
    clock.advance(90_000);
    await settle();
    // The same token again is nothing to report.
    expect(events).toEqual(['after one', 'token renewed', 'after two']);
  });

  test('is obtained again when the API refuses it, at most once a minute', async () => {
    const { clock, source, events, settle } = await setUp(undefined, 'one', 'two');
    source.refused('one');
    expect(events).toEqual([]);
    clock.advance(60_000);
    source.refused('an-older-one');
    expect(events).toEqual([]);
    for (let n = 0; n < 5; n++) source.refused('one');
    await settle();
    expect(events).toEqual(['after one', 'token renewed']);
    clock.advance(59_999);
    source.refused('two');
    expect(events).toHaveLength(2);
    clock.advance(1);
    source.refused('two');
    expect(events).toHaveLength(3);
  });

  test('stays in use while no other can be obtained, which is tried once a minute', async () => {
    const { clock, source, events, outcomes, settle } = await setUp(3_600_000, 'one');
    outcomes.splice(0, 1, new Error('no'), new Error('no'), 'two');
    for (let minutes = 0; minutes < 62; minutes++) {
      clock.advance(60_000);
      source.refused('one');
      await settle();
    }
    expect(source.current()).toBe('two');
    const kept = 'token not renewed: keeping the last token';
    expect(events.slice(0, 6)).toEqual([
      'after one',
      kept,
      'after one',
      kept,
      'after one',
      'token renewed',
    ]);
  });

  test('is obtained again at once when an operator asks for it', async () => {
    const { source, events, settle } = await setUp(undefined, 'one', 'two');
    source.renew();
    source.renew();
    await settle();
    expect(events).toEqual(['after one', 'token renewed']);
  });

  test('leaves no timer behind', async () => {
    const { clock, source, events, settle } = await setUp(90_000, 'one', 'two');
    source.close();
    source.renew();
    expect(clock.pending).toBe(0);
    await settle();
    expect(events).toEqual([]);
  });

  test('cannot be made without a first one', async () => {
    await expect(setUp(90_000, new Error('no token'))).rejects.toThrow('no token');
  });
});
