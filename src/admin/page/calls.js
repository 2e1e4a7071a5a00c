import { byId, element, setText } from './dom.js';
import { formatClock, formatCount, formatTime } from './format.js';

/**
 * @typedef {object} Call
 * @property {number} sequence
 * @property {string} time
 * @property {string} id
 * @property {string} [api]
 * @property {string} caller
 * @property {string} method
 * @property {string} path
 * @property {string} query
 * @property {number} status
 * @property {'answered' | 'shed' | 'failed' | 'aborted'} outcome
 * @property {string} [code]
 * @property {number} attempts
 * @property {number} waitMs
 * @property {number} upstreamMs
 * @property {number} totalMs
 *
 * @typedef {object} Calls
 * @property {readonly Call[]} shown
 * @property {number} sampledOut
 * @property {number} missed
 */

const MAX_ROWS = 200;
const FIELDS = ['caller', 'path', 'status', 'outcome', 'minWait', 'id'];

/**
 * The table of the last calls. Calls `onFilter` with the query for `/events` when the user changed the
 * filter. The server filters, so that a rare call is not lost among many.
 *
 * @param {(query: string) => void} onFilter
 */
export function makeCalls(onFilter) {
  const rows = byId('rows');
  const note = byId('calls-note');
  const empty = byId('calls-empty');
  const pauseButton = byId('pause');
  const form = byId('filter');
  if (!(form instanceof HTMLFormElement)) throw new Error('#filter is no form');
  /** Calls that arrived while the list is paused, newest first. @type {Call[]} */
  let queued = [];
  let paused = false;

  readAddress(form);
  let query = queryOf(form);
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let pending;
  const changed = () => {
    clearTimeout(pending);
    // Delayed, because each change opens a new connection.
    pending = setTimeout(() => {
      if (!form.checkValidity()) return;
      const now = queryOf(form);
      if (now === query) return;
      query = now;
      history.replaceState(null, '', now === '' ? location.pathname : `?${now}`);
      onFilter(now);
    }, 250);
  };
  form.addEventListener('input', changed);
  form.addEventListener('reset', () => setTimeout(changed));
  form.addEventListener('submit', (event) => event.preventDefault());
  document.addEventListener('keydown', (event) => {
    const typing = event.target instanceof HTMLElement && event.target.closest('input, select');
    if (event.key !== '/' || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    form.querySelector('input')?.focus();
  });

  pauseButton.addEventListener('click', () => {
    paused = !paused;
    pauseButton.setAttribute('aria-pressed', String(paused));
    if (!paused) {
      add(queued);
      queued = [];
    }
    setText(pauseButton, paused ? 'Resume the list' : 'Pause the list');
  });

  /** @param {readonly Call[]} calls */
  function add(calls) {
    rows.prepend(...calls.map(rowOf));
    while (rows.childElementCount > MAX_ROWS) rows.lastElementChild?.remove();
    empty.hidden = rows.childElementCount > 0;
  }

  return {
    /** The query for `/events` that corresponds to the filter. */
    get query() {
      return query;
    },
    /** @param {Calls} calls @param {boolean} isSnapshot */
    show({ shown, sampledOut, missed }, isSnapshot) {
      if (isSnapshot) {
        queued = [];
        if (!paused) rows.replaceChildren();
      }
      if (paused) queued = [...shown, ...queued].slice(0, MAX_ROWS);
      else add(shown);
      const leftOut = sampledOut + missed;
      const filtered = query === '' ? '' : 'filtered';
      const sample =
        leftOut > 0 && !isSnapshot
          ? `a sample: ${formatCount(shown.length)} of ${formatCount(shown.length + leftOut)} this second`
          : '';
      const pausedNote = paused ? `paused, ${formatCount(queued.length)} new` : '';
      setText(note, [filtered, sample, pausedNote].filter((part) => part !== '').join(' · '));
    },
  };
}

/** @param {HTMLFormElement} form */
function queryOf(form) {
  const query = new URLSearchParams();
  for (const [name, value] of new FormData(form)) {
    if (typeof value === 'string' && value.trim() !== '') query.set(name, value.trim());
  }
  return query.toString();
}

/** Sets the filter from the page's address, so that a link to the page keeps it. @param {HTMLFormElement} form */
function readAddress(form) {
  const query = new URLSearchParams(location.search);
  for (const name of FIELDS) {
    const field = form.elements.namedItem(name);
    if (field instanceof HTMLInputElement || field instanceof HTMLSelectElement) {
      field.value = query.get(name) ?? '';
    }
  }
}

/** A time. On a narrow screen, which has no column heads, its name stands before it. @param {string} name @param {number} ms */
function timeCell(name, ms) {
  const cell = element('td', 'number took', formatTime(ms));
  cell.dataset['name'] = name;
  return cell;
}

/** @param {Call} call */
function rowOf(call) {
  const { api, caller, method, path, query, status, outcome, code, attempts } = call;
  const where = api === undefined ? [] : [element('span', 'api', api), ' '];
  const request = element('td', 'request', element('span', 'method', method), ' ', ...where, path);
  const full = `${method} ${path}${query === '' ? '' : `?${query}`}`;
  request.title = [...(api === undefined ? [] : [api]), full, call.id].join('\n');
  const tries = attempts > 1 ? [' ', element('span', 'tries', `${attempts} attempts`)] : [];
  const who = element('td', 'caller', caller === '' ? '–' : caller);
  const how = element(
    'td',
    'outcome',
    element('span', 'mark', outcome),
    code === undefined ? '' : ` ${code}`,
    ...tries,
  );
  const id = element('td', 'id', call.id);
  id.title = call.id;
  // A long text is cut off; the title has all of it.
  who.title = caller;
  how.title = how.textContent;
  const row = element(
    'tr',
    '',
    element('td', 'time', formatClock(call.time)),
    who,
    request,
    element('td', 'number status', status === 0 ? '–' : String(status)),
    how,
    timeCell('waited', call.waitMs),
    timeCell('API', call.upstreamMs),
    timeCell('total', call.totalMs),
    id,
  );
  row.dataset['outcome'] = outcome;
  row.dataset['status'] = `${Math.floor(status / 100)}xx`;
  return row;
}
