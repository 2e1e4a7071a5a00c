import { makeOrigin } from './bucket-origin.js';
import { element, setText } from './dom.js';
import { formatCount, formatElapsed, formatSpan } from './format.js';

/**
 * @typedef {object} Bucket
 * @property {string} id
 * @property {string} class
 * @property {string} [name] Its name among the buckets of the class.
 * @property {true} [stated] The settings state a limit of this name.
 * @property {true} [quota] It is the quota of the caller of this name.
 * @property {{ why: 'named' | 'limit' | 'counts' | 'refused', routes: readonly string[] }} [learned]
 * @property {string} [api] The API's name, if there are several.
 * @property {string} [credential] The operator's name for it.
 * @property {number} [limit]
 * @property {number} [remaining]
 * @property {number} [resetInMs]
 * @property {number} [blockedForMs]
 * @property {number} [etaMs]
 * @property {number} [kept] How many of the remaining operations are kept for owners that use little.
 * @property {number} [oldestWaitMs]
 * @property {number} leases
 * @property {number} waiting
 * @property {true} [paused]
 * @property {Record<string, number>} waitingHereByCaller
 */

/** Callers shown separately in a bucket's queue; the rest are summed up. */
const CALLERS_SHOWN = 4;

/**
 * The card of one bucket: its gauge, its queue by caller, and why it is a bucket of its own.
 *
 * @param {Bucket} bucket
 * @param {(caller: string) => number} colourOf
 * @param {(bucket: Bucket) => Promise<void>} onToggle
 */
export function makeCard(bucket, colourOf, onToggle) {
  const { id, class: className } = bucket;
  let shown = bucket;
  const name = element('h4', '');
  name.title = `Bucket ${id}`;
  const isUnderClass = isOfClass(bucket) && bucket.quota === undefined;
  if (isUnderClass) name.append(element('span', 'of-class', `${className} / `));
  name.append(isUnderClass || bucket.quota !== undefined ? (bucket.name ?? '') : className);
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
  gauge.setAttribute('aria-label', `Budget left of ${name.textContent}`);
  gauge.setAttribute('aria-valuemin', '0');
  const queue = element('p', 'queue');
  const shares = element('div', 'shares');
  shares.setAttribute('aria-hidden', 'true');
  const legend = element('ul', 'legend');
  const origin = makeOrigin();
  const item = element(
    'li',
    'bucket',
    element('div', 'title', name, badge, toggle),
    element('div', 'numbers', element('p', 'remaining', left, ' ', limit), reset),
    gauge,
    queue,
    shares,
    legend,
    origin.item,
  );
  if (isUnderClass) item.dataset['under'] = 'class';

  return {
    item,
    /** @param {Bucket} bucket @param {boolean} canPause @param {boolean} isParted */
    show(bucket, canPause, isParted) {
      shown = bucket;
      toggle.hidden = !canPause;
      origin.show(bucket, isParted);
      const { limit: max, remaining, leases, waiting, resetInMs, blockedForMs } = bucket;
      const { etaMs, kept, oldestWaitMs } = bucket;
      setText(toggle, bucket.paused === true ? 'Resume' : 'Pause');
      toggle.setAttribute('aria-label', `${toggle.textContent} bucket ${id}`);
      const measured = max !== undefined && remaining !== undefined;
      const share = measured && max > 0 ? remaining / max : 0;
      item.dataset['state'] = !measured ? 'unknown' : share === 0 ? 'empty' : 'flowing';
      setText(left, measured ? formatCount(remaining) : '–');
      const keptText = kept === undefined ? '' : `, ${formatCount(kept)} kept`;
      setText(limit, measured ? `of ${formatCount(max)} left${keptText}` : 'not measured yet');
      limit.title = kept === undefined ? '' : 'Kept for callers that use little, until the reset';
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

/**
 * Whether it is a further bucket of its class, and not the class's own. A limit over the classes has
 * its own name in place of a class.
 *
 * @param {Bucket} bucket
 */
export function isOfClass({ class: className, name }) {
  return name !== undefined && name !== className;
}
