import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Attribution, Exchange } from '../../src/draws/attribution.ts';
import type { LearnedDraw } from '../../src/draws/lesson.ts';
import { LearnedDraws } from '../../src/draws/learned-draws.ts';
import type { ReportedBudget } from '../../src/rate-headers/budget-groups.ts';

const DAY_MS = 86_400_000;

/** Sends one request after the other, each granted after the last answer. */
class Sender {
  readonly draws = new LearnedDraws();
  nowMs = 1000;

  names(route: string): readonly string[] {
    const [method = '', path = ''] = route.split(' ');
    return this.draws.drawsOf('all', method, path)?.map(({ name }) => name) ?? [''];
  }

  /** Returns which reports belong to which buckets. */
  send(
    route: string,
    reports: readonly ReportedBudget[],
    more: Partial<Exchange> = {},
  ): Attribution {
    const [method = '', path = ''] = route.split(' ');
    const draws: readonly LearnedDraw[] | undefined = this.draws.drawsOf('all', method, path);
    const grantedAt = ++this.nowMs;
    return this.draws.learn({
      className: 'all',
      ownBucketId: 'a:all',
      method,
      path,
      draws,
      status: more.refusal === undefined ? 200 : 429,
      reports,
      costsOne: true,
      grantedAt,
      receivedAt: ++this.nowMs,
      ...more,
    });
  }

  /** Sends the same several times. */
  repeat(count: number, route: string, reports: readonly ReportedBudget[]): void {
    for (let at = 0; at < count; at++) this.send(route, reports);
  }

  get learned(): string[] {
    return this.draws
      .lessons(this.nowMs)
      .filter(({ route }) => route !== undefined)
      .map(({ route, why, counters }) => {
        const buckets = counters.map(({ bucket, perId }) => (perId ? `${bucket} per id` : bucket));
        return `${route}: ${buckets.join(', ')} (${why})`;
      });
  }
}

const named = (name: string): readonly ReportedBudget[] => [{ name }];
const limited = (limit: number): readonly ReportedBudget[] => [{ limit }];
const OWN: Attribution = { drawn: [0], others: [] };

describe('a bucket that the API names', () => {
  test('splits the route that reports another name, with its first answer', () => {
    const sender = new Sender();
    expect(sender.send('GET /repos', named('core'))).toEqual(OWN);
    expect(sender.send('GET /search', named('search'))).toEqual({
      drawn: ['elsewhere'],
      others: [{ name: 'search', reportAt: 0 }],
    });
    expect(sender.names('GET /search')).toEqual(['search']);
    expect(sender.names('GET /repos')).toEqual(['']);
    expect(sender.send('GET /search', named('search'))).toEqual(OWN);
    expect(sender.learned).toEqual(['GET /search: search (named)']);
  });

  test('is another one for an answer to a request that drew on the former', () => {
    const sender = new Sender();
    sender.send('GET /repos', named('core'));
    sender.send('GET /search', named('search'));
    const late = sender.send('GET /search', named('search'), { draws: undefined });
    expect(late).toEqual({ drawn: ['elsewhere'], others: [{ name: 'search', reportAt: 0 }] });
  });

  test('is one of several: a request draws on all, in one order for all routes', () => {
    const sender = new Sender();
    const both = [{ limit: 50 }, { name: 'tokens', limit: 80_000 }];
    expect(sender.send('POST /messages', both)).toEqual({
      drawn: [0],
      others: [{ name: 'tokens', reportAt: 1 }],
    });
    expect(sender.names('POST /messages')).toEqual(['', 'tokens']);
    expect(sender.names('POST /other')).toEqual(['', 'tokens']);
    expect(sender.send('POST /messages', both.toReversed())).toEqual({ drawn: [1, 0], others: [] });
    expect(sender.send('POST /messages', both).drawn).toEqual([0, 1]);
    expect(sender.send('POST /messages', []).drawn).toEqual(['unreported', 'unreported']);
  });

  test('is not the one without a name that the same answer reports, whichever is scarcer', () => {
    const sender = new Sender();
    const both = [
      { limit: 60, remaining: 59 },
      { name: 'list', limit: 15, remaining: 14 },
    ];
    expect(sender.send('GET /tickets', both)).toEqual({
      drawn: [1],
      others: [{ name: 'requests', reportAt: 0 }],
    });
    expect(sender.names('GET /tickets')).toEqual(['', 'requests']);
    const other = new Sender();
    other.draws.apply(sender.draws.lessons(sender.nowMs), other.nowMs);
    expect(other.names('GET /tickets')).toEqual(['', 'requests']);
  });

  test('is not drawn on by another route whose first three answers do not report it', () => {
    const sender = new Sender();
    sender.repeat(40, 'GET /tickets', [{ limit: 60 }, { name: 'list', limit: 15 }]);
    sender.repeat(2, 'GET /users', [{ limit: 60 }]);
    expect(sender.names('GET /users')).toEqual(['', 'list']);
    sender.send('GET /users', [{ limit: 60 }]);
    expect(sender.names('GET /users')).toEqual(['']);
    sender.repeat(10, 'GET /tickets', [{ limit: 60 }]);
    expect(sender.names('GET /tickets')).toEqual(['', 'list']);
  });

  test('has a name by its position if the API gives it none', () => {
    const sender = new Sender();
    sender.send('GET /a', [{ limit: 10 }, { limit: 500 }]);
    expect(sender.names('GET /a')).toEqual(['', 'position-2']);
  });

  test('is one bucket if two families of headers report it', () => {
    const sender = new Sender();
    expect(
      sender.send('GET /a', [
        { limit: 10, remaining: 9 },
        { limit: 10, remaining: 9 },
      ]),
    ).toEqual(OWN);
    expect(sender.names('GET /a')).toEqual(['']);
  });

  test('is drawn on beside another if a route reports now this one, now that one', () => {
    const sender = new Sender();
    sender.send('GET /a', named('minute'));
    sender.send('GET /a', named('hour'));
    expect(sender.names('GET /a')).toEqual(['hour']);
    sender.send('GET /a', named('minute'));
    expect(sender.names('GET /a')).toEqual(['', 'hour']);
    expect(sender.send('GET /a', named('hour')).drawn).toEqual(['unreported', 0]);
    sender.repeat(40, 'GET /a', named('minute'));
    expect(sender.names('GET /a')).toEqual(['']);
  });

  test('stays drawn on after a refusal that reports only the limit that refused', () => {
    const sender = new Sender();
    sender.send('GET /a', [{ name: 'burst' }, { name: 'day' }]);
    const refusal = { until: 60_000, isStated: true };
    for (let at = 0; at < 50; at++) sender.send('GET /a', named('day'), { refusal });
    expect(sender.names('GET /a')).toEqual(['', 'day']);
  });

  test('is forgotten when the answers of its route have no name any more', () => {
    const sender = new Sender();
    sender.send('GET /a', named('core'));
    sender.send('GET /b', named('search'));
    sender.repeat(7, 'GET /b', limited(80));
    expect(sender.names('GET /b')).toEqual(['search']);
    sender.send('GET /b', limited(80));
    expect(sender.names('GET /b')).toEqual(['']);
  });

  test('is none if each answer has a new name', () => {
    const sender = new Sender();
    for (let at = 0; at < 100; at++) sender.send('GET /a', named(`request-${at}`));
    expect(sender.names('GET /a')).toEqual(['']);
    expect(sender.send('GET /a', named('request-101'))).toEqual(OWN);
  });
});

describe('routes that report different limits', () => {
  /** Reads report 80 and writes 20. */
  function mixed(sender: Sender, count: number): void {
    for (let at = 0; at < count; at++) {
      sender.send('GET /zones', limited(80));
      sender.send('POST /zones', limited(20));
    }
  }

  test('are split after three answers', () => {
    const sender = new Sender();
    mixed(sender, 2);
    expect(sender.learned).toEqual([]);
    mixed(sender, 1);
    expect(sender.learned).toEqual(['POST /zones: 20 (limit)']);
    expect(sender.send('POST /zones', limited(20))).toEqual(OWN);
  });

  test('do not lend each other their numbers before that', () => {
    const sender = new Sender();
    sender.send('GET /zones', limited(80));
    expect(sender.send('POST /zones', limited(20)).drawn).toEqual(['unreported']);
  });

  test('are split as well if one is used after the other', () => {
    const sender = new Sender();
    sender.repeat(5, 'GET /zones', limited(80));
    sender.repeat(5, 'POST /zones', limited(20));
    sender.repeat(5, 'GET /zones', limited(80));
    expect(sender.learned).toEqual(['GET /zones: 80 (limit)']);
  });

  test('are not split if the API has changed the limit', () => {
    const sender = new Sender();
    mixedSame(sender, 80);
    mixedSame(sender, 200);
    mixedSame(sender, 80);
    expect(sender.learned).toEqual([]);
    expect(sender.send('GET /zones', limited(80))).toEqual(OWN);
  });

  function mixedSame(sender: Sender, limit: number): void {
    for (let at = 0; at < 5; at++) {
      sender.send('GET /zones', limited(limit));
      sender.send('POST /zones', limited(limit));
    }
  }

  test('are not split if answers overlap while the API changes the limit', () => {
    const sender = new Sender();
    mixedSame(sender, 80);
    sender.repeat(2, 'POST /zones', limited(200));
    // Was granted before.
    sender.send('GET /zones', limited(80), { grantedAt: 1 });
    sender.repeat(3, 'POST /zones', limited(200));
    expect(sender.learned).toEqual([]);
  });

  test('are not split if credentials have different limits', () => {
    const sender = new Sender();
    for (let at = 0; at < 20; at++) {
      sender.send('GET /zones', limited(80));
      sender.send('POST /zones', limited(200), { ownBucketId: 'b:all' });
    }
    expect(sender.learned).toEqual([]);
  });

  test('are not split by refusals, failures, or requests with a cost', () => {
    const sender = new Sender();
    for (let at = 0; at < 20; at++) {
      sender.send('GET /zones', limited(80));
      sender.send('POST /a', limited(20), { status: 503 });
      sender.send('POST /b', limited(20), { costsOne: false });
      sender.send('POST /c', limited(20), { refusal: { until: 0, isStated: false } });
    }
    expect(sender.learned).toEqual([]);
  });

  test('are one again if the route reports the limit of the others', () => {
    const sender = new Sender();
    mixed(sender, 5);
    expect(sender.names('POST /zones')).toEqual(['20']);
    sender.repeat(3, 'POST /zones', limited(80));
    expect(sender.learned).toEqual([]);
  });

  test('are not split if servers with different settings answer', () => {
    const sender = new Sender();
    let state = 7;
    for (let at = 0; at < 4000; at++) {
      state = (state * 48_271) % 2_147_483_647;
      const limit = state % 2 === 0 ? 80 : 100;
      sender.send(state % 3 === 0 ? 'GET /a' : 'GET /b', limited(limit));
    }
    expect(sender.learned).toEqual([]);
  });
});

describe('counts that cannot be one counter', () => {
  const count = (remaining: number, atMs = 1_795_860_060_000): readonly ReportedBudget[] => [
    { limit: 100, remaining, reset: { kind: 'instant', atMs, resolutionMs: 0 } },
  ];

  test('split the routes', () => {
    const sender = new Sender();
    for (let at = 1; at < 12; at++) {
      sender.send('GET /a', count(90 - at));
      sender.send('GET /b', count(60 - at));
    }
    expect(sender.learned).toEqual([
      expect.stringMatching(/^GET \/[ab]: GET_[ab]~\w+ \(counts\)$/),
    ]);
  });

  test('split the ids of a route', () => {
    const sender = new Sender();
    for (let at = 1; at < 12; at++) {
      sender.send('GET /channels/1111', count(90 - at));
      sender.send('GET /channels/2222', count(60 - at));
    }
    expect(sender.learned).toEqual([
      expect.stringMatching(/^GET \/channels\/\{id\}: \S+ per id \(counts\)$/),
    ]);
    const [one = ''] = sender.names('GET /channels/1111');
    const [other = ''] = sender.names('GET /channels/2222');
    expect(one).toMatch(/\/1111$/);
    expect(other).toMatch(/\/2222$/);
  });

  test('are known by their resets if their counts are close', () => {
    const sender = new Sender();
    for (let at = 1; at < 12; at++) {
      sender.send('GET /a', count(90 - at));
      sender.send('GET /b', count(90 - at, 1_795_860_061_000));
    }
    expect(sender.learned).toHaveLength(1);
  });

  test('are one counter again if they fall together, and are not split for an hour', () => {
    const sender = new Sender();
    const split = (): void => {
      for (let at = 1; at < 12; at++) {
        sender.send('GET /a', count(90 - at));
        sender.send('GET /b', count(60 - at));
      }
    };
    split();
    for (let at = 0; at < 10; at++) {
      sender.send('GET /a', count(50 - 2 * at));
      sender.send('GET /b', count(49 - 2 * at));
    }
    expect(sender.learned).toEqual([]);
    split();
    expect(sender.learned).toEqual([]);
  });

  test('show nothing while answers overlap', () => {
    const sender = new Sender();
    for (let at = 1; at < 40; at++) {
      sender.send('GET /a', count(90 - at), { grantedAt: 1 });
      sender.send('GET /b', count(60 - at), { grantedAt: 1 });
    }
    expect(sender.learned).toEqual([]);
  });
});

describe('refusals without numbers', () => {
  const refused = (sender: Sender, route: string, waitMs = 30_000): Attribution =>
    sender.send(route, [], { refusal: { until: sender.nowMs + waitMs, isStated: true } });

  test('concern the route alone if several routes are in use', () => {
    const sender = new Sender();
    sender.send('POST /a', []);
    sender.send('POST /b', []);
    const { drawn, others } = refused(sender, 'POST /a');
    expect(drawn).toEqual(['elsewhere']);
    expect(others).toEqual([{ name: sender.names('POST /a')[0] }]);
    expect(sender.names('POST /b')).toEqual(['']);
  });

  test('concern the class if one route is in use', () => {
    const sender = new Sender();
    sender.repeat(5, 'POST /a', []);
    expect(refused(sender, 'POST /a').drawn).toEqual(['unreported']);
    expect(sender.learned).toEqual([]);
  });

  test('concern the class if two others are refused meanwhile, and then for an hour', () => {
    const sender = new Sender();
    sender.send('POST /a', []);
    sender.send('POST /b', []);
    refused(sender, 'POST /a');
    refused(sender, 'POST /b');
    expect(sender.learned).toHaveLength(2);
    expect(refused(sender, 'POST /c')).toEqual({ drawn: ['unreported'], others: [] });
    expect(sender.learned).toEqual([]);
    sender.nowMs += 60_000;
    refused(sender, 'POST /a');
    expect(sender.learned).toEqual([]);
    sender.nowMs += DAY_MS / 24;
    sender.send('POST /a', []);
    sender.send('POST /b', []);
    refused(sender, 'POST /a');
    expect(sender.learned).toHaveLength(1);
  });

  test('concern both routes alone if others were accepted meanwhile', () => {
    const sender = new Sender();
    sender.send('POST /a', []);
    sender.send('POST /b', []);
    refused(sender, 'POST /a');
    sender.repeat(2, 'POST /b', []);
    refused(sender, 'POST /b');
    expect(sender.learned).toHaveLength(2);
  });

  test('concern the class where the API reports numbers elsewhere', () => {
    const sender = new Sender();
    sender.send('POST /a', limited(10));
    sender.send('POST /b', limited(10));
    refused(sender, 'POST /a');
    expect(sender.learned).toEqual([]);
  });
});

describe('refusals beside a reported limit of which much is left', () => {
  const left = (remaining: number): readonly ReportedBudget[] => [{ limit: 100, remaining }];
  const refuse = (sender: Sender, route: string, reports = left(90)): Attribution =>
    sender.send(route, reports, {
      refusal: { until: sender.nowMs + 30_000, isStated: true },
    });

  test('concern the route alone from its second one on: the reported limit stays open', () => {
    const sender = new Sender();
    sender.send('GET /a', left(99));
    expect(refuse(sender, 'POST /a')).toEqual(OWN);
    const second = refuse(sender, 'POST /a');
    expect(second).toEqual({
      drawn: [0],
      others: [{ name: second.refusing }],
      refusing: expect.stringMatching(/^POST_a/),
    });
    expect(sender.names('POST /a')).toEqual([second.refusing, '']);
    expect(sender.names('GET /a')).toEqual(['']);
    expect(sender.send('POST /a', left(80))).toEqual({ drawn: ['unreported', 0], others: [] });
    expect(refuse(sender, 'POST /a').refusing).toBe(second.refusing);
  });

  test('concern it also where they report nothing', () => {
    const sender = new Sender();
    sender.send('GET /a', left(99));
    refuse(sender, 'POST /a', []);
    const { refusing, drawn } = refuse(sender, 'POST /a', []);
    expect(drawn).toEqual(['unreported']);
    expect(sender.names('POST /a')).toEqual([refusing, '']);
  });

  test('stay the route of its own while its answers report the other limit', () => {
    const sender = new Sender();
    sender.send('GET /a', left(99));
    refuse(sender, 'POST /a');
    refuse(sender, 'POST /a');
    sender.repeat(100, 'POST /a', left(80));
    expect(sender.names('POST /a')).toHaveLength(2);
  });

  test.each([
    ['little of the limit is left, as the request may cost more', left(40), {}],
    ['the request costs several operations', left(90), { costsOne: false }],
  ])('teach nothing where %s', (_why, reports, more) => {
    const sender = new Sender();
    sender.send('GET /a', left(99));
    for (let at = 0; at < 3; at++) {
      const refusal = { until: sender.nowMs + 30_000, isStated: true };
      sender.send('POST /a', reports, { refusal, ...more });
    }
    expect(sender.learned).toEqual([]);
  });

  test('concern the class if two other routes are refused meanwhile', () => {
    const sender = new Sender();
    sender.send('GET /a', left(99));
    refuse(sender, 'POST /a');
    refuse(sender, 'POST /a');
    refuse(sender, 'GET /a');
    expect(refuse(sender, 'GET /b').refusing).toBeUndefined();
    expect(sender.learned).toEqual([]);
  });
});

describe('lessons', () => {
  function taught(): Sender {
    const sender = new Sender();
    sender.send('GET /repos', named('core'));
    sender.send('GET /search', named('search'));
    return sender;
  }

  test('pass as JSON to another process', () => {
    const sender = taught();
    const other = new LearnedDraws();
    const sent: unknown = JSON.parse(JSON.stringify(sender.draws.lessons(sender.nowMs)));
    expect(other.apply(Array.isArray(sent) ? sent : [], 5_000_000)).toBe(0);
    expect(other.drawsOf('all', 'GET', '/search')).toEqual([{ name: 'search' }]);
    expect(other.drawsOf('all', 'GET', '/repos')).toBeUndefined();
    expect(other.lessons(5_000_000)).toEqual(sender.draws.lessons(sender.nowMs));
  });

  test('agree on what the class’s own bucket stands for', () => {
    const [one, other] = [taught(), new Sender()];
    other.send('GET /search', named('search'));
    other.send('GET /repos', named('core'));
    expect(other.names('GET /repos')).toEqual(['core']);
    const [ofOne, ofOther] = [one.draws.lessons(one.nowMs), other.draws.lessons(other.nowMs)];
    one.draws.apply(ofOther, one.nowMs);
    other.draws.apply(ofOne, other.nowMs);
    for (const sender of [one, other]) {
      sender.send('GET /search', named('search'));
      expect(sender.names('GET /search')).toEqual(['search']);
      expect(sender.names('GET /repos')).toEqual(['']);
    }
    const late = new Sender();
    late.nowMs = 3_600_000;
    late.send('GET /a', named('a'));
    late.draws.apply(one.draws.lessons(3_600_000), 3_600_000);
    late.send('GET /a', named('a'));
    expect(late.names('GET /a')).toEqual(['a']);
    expect(late.names('GET /repos')).toEqual(['']);
  });

  test('mean the same in any order', () => {
    const sender = taught();
    const other = new LearnedDraws();
    other.apply(sender.draws.lessons(sender.nowMs).toReversed(), sender.nowMs);
    expect(other.drawsOf('all', 'GET', '/search')).toEqual([{ name: 'search' }]);
  });

  test('are not adopted again after answers contradicted them, until they are learned anew', () => {
    const sender = taught();
    const old = sender.draws.lessons(sender.nowMs);
    sender.repeat(8, 'GET /search', limited(80));
    sender.draws.apply(old, sender.nowMs);
    expect(sender.names('GET /search')).toEqual(['']);
    const later = old.map((lesson) => Object.assign(lesson, { learnedMsAgo: 0 }));
    sender.draws.apply(later, sender.nowMs + 1);
    expect(sender.names('GET /search')).toEqual(['search']);
  });

  test('are not adopted if they are none', () => {
    const draws = new LearnedDraws();
    const good = taught().draws.lessons(0);
    const bad = [null, 7, {}, { ...good[0], counters: [] }, { ...good[0], why: 'x' }];
    expect(
      draws.apply(
        [...bad, { ...good[0], counters: [{ bucket: '../x', key: '', perId: true }] }],
        0,
      ),
    ).toBe(6);
    expect(draws.lessons(0)).toEqual([]);
  });

  test('are forgotten with their class, and not adopted for a class that does not exist', () => {
    const sender = taught();
    const old = sender.draws.lessons(sender.nowMs);
    sender.draws.keepOnly(new Set(['all']));
    expect(sender.draws.lessons(sender.nowMs)).toHaveLength(2);
    sender.draws.keepOnly(new Set(['other']));
    sender.draws.apply(old, sender.nowMs);
    expect(sender.draws.lessons(sender.nowMs)).toEqual([]);
  });

  test('go on although the API has renamed its buckets hundreds of times', () => {
    const sender = new Sender();
    sender.send('GET /own', named('own'));
    for (let at = 0; at < 400; at++) {
      sender.nowMs += 2 * 3_600_000;
      sender.send('GET /renamed', named(`name-${at}`));
    }
    expect(sender.names('GET /renamed')).toEqual(['name-399']);
  });

  test('end after seven days without an answer that confirms them', () => {
    const sender = taught();
    sender.nowMs += 6 * DAY_MS;
    sender.send('GET /search', named('search'));
    sender.nowMs += 6 * DAY_MS;
    sender.send('GET /other', named('other'));
    expect(sender.names('GET /search')).toEqual(['search']);
    sender.nowMs += 2 * DAY_MS;
    sender.send('GET /other', named('other'));
    expect(sender.names('GET /search')).toEqual(['']);
    expect(sender.names('GET /other')).toEqual(['other']);
  });

  test('are bounded, whatever the API and the callers send', () => {
    const draws = new LearnedDraws({ maxClasses: 3, maxRoutes: 20, maxBuckets: 10 });
    const text = fc.oneof(fc.string(), fc.nat(1000).map(String));
    const report = fc.record(
      {
        name: text,
        limit: fc.nat(50),
        remaining: fc.nat(50),
        reset: fc.record({
          kind: fc.constant('delay' as const),
          afterMs: fc.nat(9999),
          resolutionMs: fc.constantFrom(0, 1000),
        }),
      },
      { requiredKeys: [] },
    );
    let now = 0;
    fc.assert(
      fc.property(
        fc.record({
          className: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
          ownBucketId: text,
          method: fc.constantFrom('GET', 'POST'),
          path: fc.array(text, { maxLength: 4 }).map((parts) => `/${parts.join('/')}`),
          reports: fc.array(report, { maxLength: 5 }),
          isRefused: fc.boolean(),
          costsOne: fc.boolean(),
        }),
        ({ isRefused, ...exchange }) => {
          const { className, method, path, reports } = exchange;
          const drawn = draws.drawsOf(className, method, path);
          const { drawn: reported, others } = draws.learn({
            ...exchange,
            draws: drawn,
            status: isRefused ? 429 : 200,
            ...(isRefused ? { refusal: { until: now + 500, isStated: true } } : {}),
            grantedAt: now++,
            receivedAt: now++,
          });
          expect(reported).toHaveLength(drawn?.length ?? 1);
          const positions = [...reported, ...others.map(({ reportAt }) => reportAt)].filter(
            (at) => typeof at === 'number',
          );
          expect(positions.filter((at) => reports[at] === undefined)).toEqual([]);
          expect(
            new Set(draws.lessons(now).map((lesson) => lesson.class)).size,
          ).toBeLessThanOrEqual(3);
          expect(draws.lessons(now).length).toBeLessThanOrEqual(3 * 21);
        },
      ),
      { numRuns: 400 },
    );
  });
});
