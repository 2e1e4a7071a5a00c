import { byId, element, setText } from './dom.js';
import { formatCount, formatSpan } from './format.js';

/**
 * @typedef {object} Bucket
 * @property {string} id
 * @property {string} class
 * @property {number} [limit]
 * @property {number} [remaining]
 * @property {number} [resetInMs]
 * @property {number} [blockedForMs]
 * @property {number} [etaMs]
 * @property {number} leases
 * @property {number} waiting
 * @property {true} [paused]
 * @property {Record<string, number>} waitingHereByCaller
 */

/** Callers shown separately in a bucket's queue; the rest are summed up. */
const CALLERS_SHOWN = 4;
/** Colours for callers, in order of appearance; style.css defines them. */
const COLOURS = 6;

/** The list of buckets, each with a gauge, sorted by id so that their order is stable. */
export function makeBuckets() {
  const list = byId('buckets');
  const empty = byId('buckets-empty');
  const note = byId('buckets-note');
  /** @type {Map<string, ReturnType<typeof makeCard>>} */
  const cards = new Map();
  const colourOf = makeColours();

  /** The card before which a new one is inserted. @param {string} id */
  function successorOf(id) {
    const later = [...cards].filter(([other]) => other > id).sort(([a], [b]) => (a < b ? -1 : 1));
    return later[0]?.[1].item ?? null;
  }

  return {
    /** @param {readonly Bucket[]} buckets @param {number} hidden */
    show(buckets, hidden) {
      const present = new Set(buckets.map(({ id }) => id));
      for (const [id, { item }] of cards) {
        if (present.has(id)) continue;
        item.remove();
        cards.delete(id);
      }
      for (const bucket of buckets) {
        let card = cards.get(bucket.id);
        if (card === undefined) {
          card = makeCard(bucket, colourOf);
          cards.set(bucket.id, card);
          list.insertBefore(card.item, successorOf(bucket.id));
        }
        card.show(bucket);
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
 */
function makeCard({ id, class: className }, colourOf) {
  const credential = id.slice(0, id.lastIndexOf(':'));
  const name = element('h3', '', className);
  const owner = element('span', 'credential', credential);
  owner.title = `Bucket ${id}`;
  const badge = element('span', 'badge');
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
    element('div', 'title', name, badge, owner),
    element('div', 'numbers', element('p', 'remaining', left, ' ', limit), reset),
    gauge,
    queue,
    shares,
    legend,
  );

  return {
    item,
    /** @param {Bucket} bucket */
    show(bucket) {
      const { limit: max, remaining, leases, waiting, resetInMs, blockedForMs, etaMs } = bucket;
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
      const queueText =
        waiting === 0 ? 'no calls waiting' : `${formatCount(waiting)} waiting${etaText}`;
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
