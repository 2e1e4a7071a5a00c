import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BoundedTallies } from '../../src/logs/bounded-tallies.ts';
import { DurationHistogram, QUANTILE_ERROR } from '../../src/logs/duration-histogram.ts';
import { formatSummary } from '../../src/logs/summary-view.ts';
import { CountTally, pathTemplate, SummaryBuilder } from '../../src/logs/summary.ts';
import { plain } from '../../src/logs/terminal-text.ts';
import { loggedCall, loggedThrottle } from '../support/log-fixtures.ts';

const duration = fc.double({ min: 0.1, max: 86_400_000, noNaN: true });

describe('a histogram of durations', () => {
  test('has every quantile within its error, and sum, count and longest exactly', () => {
    fc.assert(
      fc.property(
        fc.array(duration, { minLength: 1 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (all, share) => {
          const histogram = new DurationHistogram();
          for (const ms of all) histogram.add(ms);
          const sorted = [...all].sort((a, b) => a - b);
          const exact = sorted[Math.max(1, Math.ceil(share * all.length)) - 1] ?? 0;
          const off = Math.abs(histogram.quantileMs(share) - exact) / exact;
          expect(off).toBeLessThanOrEqual(QUANTILE_ERROR + 1e-9);
          expect(histogram.count).toBe(all.length);
          expect(histogram.longestMs).toBe(sorted.at(-1));
          expect(histogram.sumMs).toBeCloseTo(
            all.reduce((sum, ms) => sum + ms, 0),
            3,
          );
        },
      ),
    );
  });

  test('is the same whether it counts all durations or merges two histograms', () => {
    fc.assert(
      fc.property(fc.array(duration), fc.array(duration), (left, right) => {
        const [a, b, whole] = [
          new DurationHistogram(),
          new DurationHistogram(),
          new DurationHistogram(),
        ];
        for (const ms of left) a.add(ms);
        for (const ms of right) b.add(ms);
        for (const ms of [...left, ...right]) whole.add(ms);
        a.merge(b);
        for (const share of [0.5, 0.9, 0.99]) {
          expect(a.quantileMs(share)).toBe(whole.quantileMs(share));
        }
      }),
    );
  });

  test('counts a wait of 0 as 0, and returns 0 without durations', () => {
    const histogram = new DurationHistogram();
    expect(histogram.quantileMs(0.5)).toBe(0);
    for (const ms of [0, 0, 0, 100]) histogram.add(ms);
    expect(histogram.quantileMs(0.75)).toBe(0);
    expect(histogram.quantileMs(0.76)).toBeGreaterThan(97);
  });
});

describe('tallies by key', () => {
  test('keep the busiest of any number of keys, and an exact sum of all', () => {
    const tallies = new BoundedTallies({ max: 100, make: () => new CountTally() });
    for (let n = 0; n < 50_000; n++) {
      tallies.at(`once-${n}`).count++;
      tallies.at(`often-${n % 20}`).count++;
    }
    const { top, rest } = tallies.top(20);
    expect(new Set(top.map(([key]) => key.slice(0, 6)))).toEqual(new Set(['often-']));
    expect(top.map(([, { count }]) => count)).toEqual(Array.from({ length: 20 }, () => 2500));
    expect(rest.count).toBe(50_000);
  });
});

describe('the template of a path', () => {
  test('has * in place of ids', () => {
    expect(pathTemplate('/domains/17/records/3')).toBe('/domains/*/records/*');
    expect(pathTemplate('/a/0b8e2d34-9f1c-4c7e-8a55-3f2f0c6f9d11')).toBe('/a/*');
    expect(pathTemplate('/a/0123456789abcdef01')).toBe('/a/*');
    expect(pathTemplate('/edge_applications/v3/cafe')).toBe('/edge_applications/v3/cafe');
    expect(pathTemplate(`/${'x'.repeat(5000)}`).length).toBe(201);
  });
});

describe('a summary', () => {
  const builder = new SummaryBuilder();
  for (let n = 0; n < 98; n++) builder.add(loggedCall({ waitMs: n < 49 ? 0 : 1000 }));
  builder.add(loggedThrottle());
  builder.add(
    loggedCall({
      caller: 'dns\u001B[2J',
      path: '/zones/1',
      status: 503,
      outcome: 'shed',
      code: 'wait-too-long',
      attempts: 0,
      upstreamMs: 0,
      atMs: Date.UTC(2026, 10, 24, 6, 27),
    }),
  );
  const summary = builder.result(10);

  test('has sums of calls, outcomes, waits and 429s, by caller, path and minute', () => {
    expect(summary).toMatchObject({
      from: '2026-11-24T06:26:00.000Z',
      to: '2026-11-24T06:27:00.000Z',
      all: { calls: 99, waited: 49, lostMs: 49_000, outcomes: { answered: 98, shed: 1 } },
      codes: { 'wait-too-long': 1 },
      throttled: 1,
      throttledByBucket: { 'own:read': 1 },
      byCaller: [
        { name: 'billing', calls: 98 },
        { name: 'dns\u001B[2J', calls: 1 },
      ],
      byPath: [
        { name: 'GET /domains/*', calls: 98 },
        { name: 'GET /zones/*', calls: 1 },
      ],
      busiestMinutes: [
        { minute: '2026-11-24T06:26Z', calls: 98, waitMs: 49_000, throttled: 1 },
        { minute: '2026-11-24T06:27Z', calls: 1 },
      ],
    });
    expect(summary.all.waitMs).toMatchObject({ p50: 0, longest: 1000 });
    expect(summary.all.waitMs.p90 / 1000).toBeCloseTo(1, 1);
  });

  test('includes the upstream time only of calls that were sent', () => {
    expect(summary.byCaller[1]?.upstreamMs).toEqual({ p50: 0, p90: 0, p99: 0, longest: 0 });
    expect(summary.all.upstreamMs.p50 / 80).toBeCloseTo(1, 1);
  });

  test('merges all but the busiest into other', () => {
    const { byCaller, byPath, busiestMinutes } = builder.result(1);
    expect(byCaller.map(({ name, calls }) => [name, calls])).toEqual([
      ['billing', 98],
      ['other', 1],
    ]);
    expect(byPath.at(-1)?.name).toBe('other');
    expect(busiestMinutes.length).toBe(1);
  });

  test('is formatted as tables, with control characters escaped', () => {
    const text = formatSummary(summary, { lines: 101, broken: 1 }, plain);
    expect(text).toContain('99 calls in 101 lines, 2026-11-24T06:26:00.000Z to');
    expect(text).toContain('1 broken lines skipped');
    expect(text).toMatch(/49 calls waited \(49\.5 %\), 49\.0 s in total/);
    expect(text).toContain('dns\\u{1b}[2J');
    expect(text).not.toContain('\u001B');
  });

  test('without calls has empty tables', () => {
    const empty = new SummaryBuilder().result(10);
    expect(empty.from).toBe(undefined);
    const text = formatSummary(empty, { lines: 0, broken: 0 }, plain);
    expect(text).toContain('0 calls in 0 lines\n');
    expect(text).toContain('By caller\n  none\n');
  });

  test('sums up by API where lines name several', () => {
    const several = new SummaryBuilder();
    for (const api of ['github', 'azion', 'github']) several.add(loggedCall({ api }));
    expect(several.result(10).byApi.map(({ name, calls }) => [name, calls])).toEqual([
      ['github', 2],
      ['azion', 1],
    ]);
    const text = formatSummary(several.result(10), { lines: 3, broken: 0 }, plain);
    expect(text).toContain('\nBy API\n');
    expect(formatSummary(summary, { lines: 101, broken: 1 }, plain)).not.toContain('By API');
  });

  test('counts what would have been in observe mode, and says what the mode means', () => {
    const observed = new SummaryBuilder();
    observed.add(loggedCall({ wouldWaitMs: 0 }));
    for (const wouldWaitMs of [1000, 3000]) observed.add(loggedCall({ wouldWaitMs }));
    observed.add(loggedCall({ status: 429, wouldShed: 'queue-full' }));
    observed.add(loggedThrottle());
    const sums = observed.result(10);
    expect(sums.observed).toMatchObject({
      calls: 4,
      wouldWait: 2,
      wouldLoseMs: 4000,
      wouldShed: { 'queue-full': 1 },
    });
    const text = formatSummary(sums, { lines: 5, broken: 0 }, plain);
    expect(text).toContain("no call waited for its budget, and the API's 429s reached the callers");
    expect(text).toContain('2 calls would have waited (50.0 %), 4.0 s in total');
    expect(text).toContain('1 call would have been shed (25.0 %)');
    expect(text).toMatch(/queue-full +1 +100\.0 %/);
    expect(summary.observed).toBeUndefined();
    expect(formatSummary(summary, { lines: 101, broken: 1 }, plain)).not.toContain('Observe');
  });
});
