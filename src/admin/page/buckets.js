import { byId, element, setText } from './dom.js';
import { formatCount, formatElapsed, formatSpan } from './format.js';

/**
 * @typedef {object} Bucket
 * @property {string} id
 * @property {string} class
 * @property {string} [credential] The operator's name for it.
 * @property {number} [limit]
 * @property {number} [remaining]
 * @property {number} [resetInMs]
 * @property {number} [blockedForMs]
 * @property {number} [etaMs]
 * @property {number} [oldestWaitMs]
 * @property {number} leases
 * @property {number} waiting
 * @property {true} [paused]
 * @property {Record<string, number>} waitingHereByCaller
 */

/** Callers shown separately in a bucket's queue; the rest are summed up. */
const CALLERS_SHOWN = 4;
/** Colours for callers, in order of appearance; style.css defines them. */
const COLOURS = 6;

/**
 * How long the oldest of all waiting calls has waited; `undefined` if none waits.
 *
 * @param {readonly Bucket[]} buckets
 */
export function oldestWait(buckets) {
  const waits = buckets.flatMap(({ oldestWaitMs }) => oldestWaitMs ?? []);
  return waits.length === 0 ? undefined : Math.max(...waits);
}

/** The list of buckets, each with a gauge, the busiest first. */
export function makeBuckets() {
  const list = byId('buckets');
  const empty = byId('buckets-empty');
  const note = byId('buckets-note');
  /** @type {Map<string, ReturnType<typeof makeCard>>} */
  const cards = new Map();
  const colourOf = makeColours();
  const problem = byId('buckets-problem');

  /**
   * Pauses a bucket's grants or resumes them. The browser asks for the token if it has none.
   *
   * @param {Bucket} bucket
   */
  async function toggle({ id, class: className, paused, waiting }) {
    const action = paused === true ? 'resume' : 'pause';
    const question = `Pause bucket ${id} at this replica? Its calls (${className}) wait until it is resumed, ${formatCount(waiting)} of them now.`;
    if (action === 'pause' && !confirm(question)) return;
    try {
      const answer = await fetch(`buckets/${encodeURIComponent(id)}/${action}`, { method: 'POST' });
      const { error } = await answer.json();
      setText(problem, answer.ok ? '' : `Bucket ${id}: ${error}`);
    } catch (error) {
      setText(problem, `Bucket ${id}: no answer of the replica: ${String(error)}`);
    }
    problem.hidden = problem.textContent === '';
  }

  return {
    /** @param {readonly Bucket[]} buckets @param {number} hidden @param {boolean} canPause */
    show(buckets, hidden, canPause) {
      const present = new Set(buckets.map(({ id }) => id));
      for (const [id, { item }] of cards) {
        if (present.has(id)) continue;
        item.remove();
        cards.delete(id);
      }
      let place = list.firstElementChild;
      for (const bucket of busiestFirst(buckets)) {
        let card = cards.get(bucket.id);
        if (card === undefined) {
          card = makeCard(bucket, colourOf, toggle);
          cards.set(bucket.id, card);
        }
        // Moved only where the order changed: a moved card loses the keyboard's focus.
        if (card.item === place) place = place.nextElementSibling;
        else list.insertBefore(card.item, place);
        card.show(bucket, canPause);
      }
      empty.hidden = buckets.length > 0;
      list.hidden = buckets.length === 0;
      const waiting = buckets.reduce((sum, bucket) => sum + bucket.waiting, 0);
      const more = hidden > 0 ? ` · ${formatCount(hidden)} less busy buckets not shown` : '';
      setText(
        note,
        `${waiting === 0 ? 'no calls waiting' : `${formatCount(waiting)} waiting`}${more}`,
      );
    },
  };
}

/**
 * By the order of magnitude of their queues, so that cards do not swap places at each tick; then those
 * that may send nothing, then by id.
 *
 * @param {readonly Bucket[]} buckets
 */
function busiestFirst(buckets) {
  const load = (/** @type {Bucket} */ { waiting }) => Math.ceil(Math.log2(waiting + 1));
  const stopped = (/** @type {Bucket} */ { paused, blockedForMs }) =>
    paused === true || blockedForMs !== undefined ? 1 : 0;
  return [...buckets].sort(
    (a, b) => load(b) - load(a) || stopped(b) - stopped(a) || (a.id < b.id ? -1 : 1),
  );
}

/** Assigns each caller a colour that it keeps. */
function makeColours() {
  /** @type {Map<string, number>} */
  const known = new Map();
  return (/** @type {string} */ caller) => {
    if (known.size > 1000) known.clear();
    const colour = known.get(caller) ?? known.size % COLOURS;
    known.set(caller, colour);
    return colour;
  };
}

/**
 * @param {Bucket} bucket
 * @param {(caller: string) => number} colourOf
 * @param {(bucket: Bucket) => Promise<void>} onToggle
 */
function makeCard(bucket, colourOf, onToggle) {
  const { id, class: className } = bucket;
  let shown = bucket;
  const name = element('h3', '', className);
  const owner = element('span', 'credential');
  owner.title = `Bucket ${id}`;
  const badge = element('span', 'badge');
  const toggle = element('button', 'toggle');
  toggle.type = 'button';
  toggle.addEventListener('click', () => void onToggle(shown));
  const left = element('span', 'left');
  const limit = element('span', 'of');
  const reset = element('span', 'reset');
  const level = element('div', 'level');
  const out = element('div', 'out');
  const gauge = element('div', 'gauge', level, out);
  gauge.setAttribute('role', 'meter');
  gauge.setAttribute('aria-label', `Budget left of ${className}`);
  gauge.setAttribute('aria-valuemin', '0');
  const queue = element('p', 'queue');
  const shares = element('div', 'shares');
  shares.setAttribute('aria-hidden', 'true');
  const legend = element('ul', 'legend');
  const item = element(
    'li',
    'bucket',
    element('div', 'title', name, badge, owner, toggle),
    element('div', 'numbers', element('p', 'remaining', left, ' ', limit), reset),
    gauge,
    queue,
    shares,
    legend,
  );

  return {
    item,
    /** @param {Bucket} bucket @param {boolean} canPause */
    show(bucket, canPause) {
      shown = bucket;
      toggle.hidden = !canPause;
      setText(owner, bucket.credential ?? id.slice(0, id.lastIndexOf(':')));
      const { limit: max, remaining, leases, waiting, resetInMs, blockedForMs } = bucket;
      const { etaMs, oldestWaitMs } = bucket;
      setText(toggle, bucket.paused === true ? 'Resume' : 'Pause');
      toggle.setAttribute('aria-label', `${toggle.textContent} bucket ${id}`);
      const measured = max !== undefined && remaining !== undefined;
      const share = measured && max > 0 ? remaining / max : 0;
      item.dataset['state'] = !measured ? 'unknown' : share === 0 ? 'empty' : 'flowing';
      setText(left, measured ? formatCount(remaining) : '–');
      setText(limit, measured ? `of ${formatCount(max)} left` : 'not measured yet');
      setText(reset, resetInMs === undefined ? '' : `resets in ${formatSpan(resetInMs)}`);
      level.style.width = `${share * 100}%`;
      const inFlightShare = measured && max > 0 ? Math.min(leases, remaining) / max : 0;
      out.style.width = `${inFlightShare * 100}%`;
      out.style.left = `${(share - inFlightShare) * 100}%`;
      gauge.setAttribute('aria-valuemax', String(max ?? 0));
      gauge.setAttribute('aria-valuenow', String(remaining ?? 0));
      gauge.setAttribute(
        'aria-valuetext',
        measured ? `${remaining} of ${max}` : 'not measured yet',
      );
      setText(badge, badgeOf(bucket.paused === true, blockedForMs));
      badge.hidden = badge.textContent === '';

      const inFlightText = leases === 0 ? '' : ` · ${formatCount(leases)}\u00A0in\u00A0flight`;
      const etaText = etaMs === undefined ? '' : `, the last one is sent in ${formatSpan(etaMs)}`;
      const oldestText =
        oldestWaitMs === undefined ? '' : `, the first one for ${formatElapsed(oldestWaitMs)}`;
      const queueText =
        waiting === 0
          ? 'no calls waiting'
          : `${formatCount(waiting)} waiting${oldestText}${etaText}`;
      setText(queue, queueText + inFlightText);
      showCallers(bucket.waitingHereByCaller, waiting);
    },
  };

  /** @param {Record<string, number>} byCaller @param {number} waiting */
  function showCallers(byCaller, waiting) {
    const callers = Object.entries(byCaller).sort(([, a], [, b]) => b - a);
    const named = callers.slice(0, CALLERS_SHOWN);
    const rest = callers.slice(CALLERS_SHOWN);
    const others = rest.reduce((sum, [, tickets]) => sum + tickets, 0);
    const parts = named.map(([caller, tickets]) => ({
      caller,
      tickets,
      colour: String(colourOf(caller)),
    }));
    const here = callers.reduce((sum, [, tickets]) => sum + tickets, 0);
    if (others > 0) {
      parts.push({ caller: `${rest.length} more`, tickets: others, colour: 'rest' });
    }
    if (waiting > here) {
      parts.push({ caller: 'at other replicas', tickets: waiting - here, colour: 'rest' });
    }
    shares.replaceChildren(
      ...parts.map(({ tickets, colour }) => {
        const part = element('span', '');
        part.dataset['colour'] = colour;
        part.style.flexGrow = String(tickets / waiting);
        return part;
      }),
    );
    legend.replaceChildren(
      ...parts.map(({ caller, tickets, colour }) => {
        const entry = element('li', '', element('b', '', caller), ` ${formatCount(tickets)}`);
        entry.dataset['colour'] = colour;
        return entry;
      }),
    );
    shares.hidden = parts.length === 0;
    legend.hidden = parts.length === 0;
  }
}

/** @param {boolean} paused @param {number | undefined} blockedForMs */
function badgeOf(paused, blockedForMs) {
  if (paused) return 'paused';
  return blockedForMs === undefined ? '' : `blocked for ${formatSpan(blockedForMs)}`;
}
