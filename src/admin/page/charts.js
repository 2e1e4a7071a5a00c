import { makeChart, STEPS } from './chart.js';
import { oldestWait } from './buckets.js';
import { formatCount, formatRate, formatTime } from './format.js';

/** @typedef {import('./chart.js').Point} Point */

const TIME_SCALES = [1, 2, 5, 10, 20, 30, 60, 120, 180, 300, 600, 900, 1800].map((s) => s * 1000);
/** @type {Omit<Point, 'step' | 'at'>} */
const EMPTY = {
  calls: 0,
  answered: 0,
  shed: 0,
  failed: 0,
  aborted: 0,
  throttled: 0,
  waitP50: 0,
  waitP95: 0,
};

/** The three curves of the last 15 minutes. */
export function makeCharts() {
  /** @type {Map<number, Point>} */
  const points = new Map();
  let stepMs = 5000;
  /** How long the oldest waiting call has waited. @type {number | undefined} */
  let oldestWaitMs;
  let isObserving = false;
  const charts = [
    makeChart({
      id: 'chart-calls',
      title: 'Calls',
      unit: () => 'per second',
      series: [
        { name: 'all', shape: 'area', colour: 0, value: ({ calls }, s) => calls / s },
        {
          name: 'shed or failed',
          shape: 'line',
          colour: 1,
          value: ({ shed, failed }, s) => (shed + failed) / s,
        },
      ],
      scale: (max) => roundUp(Math.max(2, max)),
      format: formatRate,
      headline: (all, s) => (all.at(-1)?.calls ?? 0) / s,
      headlineNote: () => 'now',
    }),
    makeChart({
      id: 'chart-wait',
      title: 'Wait',
      unit: () => '',
      series: [
        {
          name: '95 of 100 calls',
          shape: 'area',
          colour: 2,
          value: ({ calls, waitP95 }) => (calls === 0 ? undefined : waitP95),
        },
        {
          name: 'half of the calls',
          shape: 'dashed',
          colour: 3,
          value: ({ calls, waitP50 }) => (calls === 0 ? undefined : waitP50),
        },
      ],
      scale: (max) => TIME_SCALES.find((ms) => ms >= max) ?? max,
      format: formatTime,
      // The curves are of finished calls, and those that still wait may have waited far longer.
      headline: (all) => oldestWaitMs ?? all.findLast(({ calls }) => calls > 0)?.waitP95 ?? 0,
      headlineNote: () => (oldestWaitMs === undefined ? 'last' : 'oldest waiting now'),
    }),
    makeChart({
      id: 'chart-throttled',
      title: 'API 429s',
      unit: () => (isObserving ? 'passed on to callers' : 'kept from callers'),
      series: [{ name: '429s', shape: 'bars', colour: 1, value: ({ throttled }) => throttled }],
      scale: (max) => roundUp(Math.max(4, max)),
      format: formatCount,
      headline: (all) => all.reduce((sum, { throttled }) => sum + throttled, 0),
      headlineNote: () => 'in 15 min',
    }),
  ];

  return {
    /** @param {import('./app.js').State} state @param {boolean} isSnapshot */
    show(state, isSnapshot) {
      const { points: newPoints, step: newest, stepMs: newStepMs = stepMs, buckets } = state;
      stepMs = newStepMs;
      isObserving = state.observed !== undefined;
      oldestWaitMs = oldestWait(buckets);
      if (isSnapshot) points.clear();
      for (const point of newPoints) points.set(point.step, point);
      for (const step of points.keys()) if (step <= newest - STEPS) points.delete(step);
      const all = withoutGaps(points, newest, stepMs);
      // Without the current step, which is incomplete and would always look like a drop.
      const complete = all.length > 1 ? all.slice(0, -1) : all;
      const last = complete.at(-1)?.step ?? newest;
      for (const chart of charts) chart.draw(complete, last, stepMs / 1000);
    },
  };
}

/**
 * A point for every step from the first known one to the current one. The server omits empty points,
 * so a missing one gets zeros.
 *
 * @param {ReadonlyMap<number, Point>} points
 * @param {number} newest
 * @param {number} stepMs
 * @returns {Point[]}
 */
function withoutGaps(points, newest, stepMs) {
  /** @type {Point[]} */
  const all = [];
  for (let step = Math.min(newest, ...points.keys()); step <= newest; step++) {
    const at = (all.at(-1)?.at ?? 0) + stepMs;
    all.push(points.get(step) ?? { ...EMPTY, step, at });
  }
  return all;
}

/** Rounds a count up to a round number. @param {number} value */
function roundUp(value) {
  const magnitude = 10 ** Math.floor(Math.log10(value));
  const step = [1, 1.5, 2, 3, 5, 8, 10].find((each) => each * magnitude >= value) ?? 10;
  return step * magnitude;
}
