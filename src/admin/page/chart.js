import { byId, element, setText } from './dom.js';
import { formatClock } from './format.js';

/**
 * @typedef {object} Point
 * @property {number} step
 * @property {number} at
 * @property {number} calls
 * @property {number} answered
 * @property {number} shed
 * @property {number} failed
 * @property {number} aborted
 * @property {number} throttled
 * @property {number} waitP50
 * @property {number} waitP95
 *
 * @typedef {object} Series
 * @property {string} name
 * @property {'area' | 'line' | 'dashed' | 'bars'} shape
 * @property {number} colour
 * @property {(point: Point, stepSeconds: number) => number | undefined} value
 *
 * @typedef {object} ChartOptions
 * @property {string} id
 * @property {string} title
 * @property {() => string} unit
 * @property {readonly Series[]} series
 * @property {(max: number) => number} scale The upper end of the axis for a largest value of `max`.
 * @property {(value: number) => string} format
 * @property {(points: readonly Point[], stepSeconds: number) => number} headline
 * @property {() => string} headlineNote
 */

/** The number of points of a curve: 15 minutes. */
export const STEPS = 180;
const WIDTH = 360;
const HEIGHT = 100;
const SVG = 'http://www.w3.org/2000/svg';

/** Draws one chart into its figure. @param {ChartOptions} options */
export function makeChart({ id, title, unit, series, scale, format, headline, headlineNote }) {
  const figure = byId(id);
  const number = element('span', 'headline');
  const when = element('span', 'when');
  const unitText = element('p', 'unit');
  const legend = element(
    'ul',
    'legend',
    ...series.map(({ name, colour, shape }) => {
      const entry = element('li', '', name);
      entry.dataset['series'] = String(colour);
      entry.dataset['shape'] = shape;
      return entry;
    }),
  );
  const top = element('span', 'top-label');
  const plot = element('div', 'plot', top);
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('role', 'img');
  const grid = path('grid');
  grid.setAttribute('d', `M0 ${HEIGHT / 2}H${WIDTH}M0 0H${WIDTH}`);
  svg.append(grid);
  const drawn = series.flatMap((one) => {
    const fill = one.shape === 'line' || one.shape === 'dashed' ? undefined : path('fill');
    const stroke = one.shape === 'bars' ? undefined : path('stroke');
    for (const each of [fill, stroke]) {
      if (each === undefined) continue;
      each.dataset['series'] = String(one.colour);
      each.dataset['shape'] = one.shape;
      svg.append(each);
    }
    return [{ one, fill, stroke }];
  });
  const cursor = element('div', 'cursor');
  const readout = element('p', 'readout');
  cursor.hidden = true;
  readout.hidden = true;
  plot.append(svg, cursor);
  const axis = element(
    'div',
    'axis',
    ...['15 min ago', '10', '5', 'now'].map((text) => element('span', '', text)),
  );
  axis.setAttribute('aria-hidden', 'true');
  figure.append(
    element(
      'figcaption',
      '',
      element('h2', '', title),
      element('p', 'value', number, ' ', when),
      element('div', 'below', unitText, ...(series.length > 1 ? [legend] : [])),
    ),
    plot,
    axis,
    readout,
  );

  /** @type {{ all: readonly Point[], newest: number, stepSeconds: number }} */
  let last = { all: [], newest: 0, stepSeconds: 5 };
  plot.addEventListener('pointermove', (event) => {
    const { left, width } = plot.getBoundingClientRect();
    const back = Math.round((1 - (event.clientX - left) / width) * (STEPS - 1));
    const point = last.all.find(({ step }) => step === last.newest - back);
    showReadout(point !== undefined);
    if (point === undefined) return;
    const values = series.map(({ name, value }) => {
      const current = value(point, last.stepSeconds);
      return `${name} ${current === undefined ? '–' : format(current)}`;
    });
    setText(readout, `${formatClock(point.at)} · ${values.join(' · ')}`);
    cursor.style.left = `${(1 - back / (STEPS - 1)) * 100}%`;
  });
  plot.addEventListener('pointerleave', () => showReadout(false));

  /** Shows the values under the pointer in place of the axis. @param {boolean} active */
  function showReadout(active) {
    cursor.hidden = !active;
    readout.hidden = !active;
    axis.hidden = active;
  }

  return {
    /** @param {readonly Point[]} all @param {number} newest @param {number} stepSeconds */
    draw(all, newest, stepSeconds) {
      setText(unitText, unit());
      last = { all, newest, stepSeconds };
      const values = series.map(({ value }) =>
        all.map((point) => ({ step: point.step, value: value(point, stepSeconds) })),
      );
      const max = Math.max(0, ...values.flat().map(({ value }) => value ?? 0));
      const height = scale(max);
      const now = format(headline(all, stepSeconds));
      setText(number, now);
      setText(when, headlineNote());
      setText(top, format(height));
      svg.setAttribute(
        'aria-label',
        `${title}: ${now} ${headlineNote()}, at most ${format(max)} in the last 15 minutes`,
      );
      drawn.forEach(({ one, fill, stroke }, index) => {
        const line = runsOf(values[index] ?? [], newest, height);
        if (one.shape === 'bars') fill?.setAttribute('d', bars(line));
        else {
          stroke?.setAttribute('d', line.map(lineOf).join(''));
          fill?.setAttribute('d', line.map(areaOf).join(''));
        }
      });
    },
  };
}

/** @param {string} className */
function path(className) {
  const made = document.createElementNS(SVG, 'path');
  made.setAttribute('class', className);
  return made;
}

/**
 * Runs of adjacent points, as coordinates. A point without a value makes a gap.
 *
 * @param {readonly { step: number, value: number | undefined }[]} values
 * @param {number} newest
 * @param {number} scale
 * @returns {[x: number, y: number][][]}
 */
function runsOf(values, newest, scale) {
  /** @type {[number, number][][]} */
  const runs = [];
  let previous = Number.NEGATIVE_INFINITY;
  for (const { step, value } of values) {
    if (value === undefined) continue;
    if (step !== previous + 1) runs.push([]);
    previous = step;
    const x = ((step - newest + STEPS - 1) / (STEPS - 1)) * WIDTH;
    runs.at(-1)?.push([round(x), round(HEIGHT - (value / scale) * HEIGHT)]);
  }
  return runs;
}

/** @param {readonly [number, number][]} run */
function lineOf(run) {
  const [[x, y] = [0, 0]] = run;
  // A single point is drawn as a short dash, because a line of length 0 is invisible.
  if (run.length === 1) return `M${x - 1} ${y}H${x + 1}`;
  return `M${run.map(([px, py]) => `${px} ${py}`).join('L')}`;
}

/** @param {readonly [number, number][]} run */
function areaOf(run) {
  const [[first] = [0]] = run;
  const [last] = run.at(-1) ?? [0];
  return `M${first} ${HEIGHT}L${run.map(([x, y]) => `${x} ${y}`).join('L')}L${last} ${HEIGHT}Z`;
}

/** @param {readonly (readonly [number, number][])[]} runs */
function bars(runs) {
  const width = WIDTH / STEPS;
  return runs
    .flat()
    .filter(([, y]) => y < HEIGHT)
    .map(([x, y]) => `M${round(x - width * 0.4)} ${HEIGHT}V${y}h${round(width * 0.8)}V${HEIGHT}Z`)
    .join('');
}

/** @param {number} value */
function round(value) {
  return Math.round(value * 10) / 10;
}
