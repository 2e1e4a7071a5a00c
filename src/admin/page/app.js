import { makeBuckets } from './buckets.js';
import { makeCalls } from './calls.js';
import { makeCharts } from './charts.js';
import { byId, setText } from './dom.js';
import { formatCount } from './format.js';

/**
 * @typedef {object} State What `snapshot` and `tick` events say; a snapshot says everything.
 * @property {string} replica
 * @property {string} version
 * @property {'memory' | 'redis' | 'local'} ledger
 * @property {boolean} draining
 * @property {number} total
 * @property {number} step
 * @property {readonly import('./buckets.js').Bucket[]} buckets
 * @property {number} bucketsHidden
 * @property {readonly import('./chart.js').Point[]} points
 * @property {number} [stepMs]
 * @property {import('./calls.js').Calls} calls
 */

/** Ticks come every second; when none came for so long the connection is dead, whatever it says. */
const SILENCE_MS = 5000;
const RETRY_MS = { first: 1000, last: 8000 };
const LEDGERS = {
  memory: 'in this process',
  redis: 'shared, in Redis',
  local: 'local, Redis is away',
};

const buckets = makeBuckets();
const charts = makeCharts();
const calls = makeCalls(() => connect());
/** @type {EventSource | undefined} */
let source;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;
let retryMs = RETRY_MS.first;

connect();

/** Connects, again if need be; the first event is a snapshot, so nothing has to be remembered. */
function connect() {
  clearTimeout(timer);
  source?.close();
  const query = calls.query;
  const opened = new EventSource(query === '' ? 'events' : `events?${query}`);
  source = opened;
  opened.addEventListener('snapshot', (event) => show(JSON.parse(event.data), true));
  opened.addEventListener('tick', (event) => show(JSON.parse(event.data), false));
  opened.addEventListener('error', () => {
    say('lost', 'Connection lost, trying again …');
    later(retryMs);
    retryMs = Math.min(retryMs * 2, RETRY_MS.last);
  });
  later(SILENCE_MS);
}

/** @param {number} ms */
function later(ms) {
  clearTimeout(timer);
  timer = setTimeout(() => {
    say('lost', 'Connection lost, trying again …');
    connect();
  }, ms);
}

/** @param {State} state @param {boolean} afresh */
function show(state, afresh) {
  retryMs = RETRY_MS.first;
  later(SILENCE_MS);
  say(state.draining ? 'draining' : 'live', state.draining ? 'Draining' : 'Live');
  setText(byId('replica'), state.replica);
  setText(byId('version'), state.version);
  setText(byId('ledger'), LEDGERS[state.ledger]);
  byId('ledger').dataset['mode'] = state.ledger;
  setText(byId('total'), formatCount(state.total));
  document.title = `Headgate · ${state.replica}`;
  buckets.show(state.buckets, state.bucketsHidden);
  charts.show(state.points, state.step, afresh, state.stepMs);
  calls.show(state.calls, afresh);
}

/** @param {'live' | 'draining' | 'lost'} connection @param {string} text */
function say(connection, text) {
  document.body.dataset['connection'] = connection;
  setText(byId('connection'), text);
}
