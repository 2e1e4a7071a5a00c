import { makeBuckets } from './buckets.js';
import { makeCalls } from './calls.js';
import { makeCharts } from './charts.js';
import { byId, setText } from './dom.js';
import { formatCount, formatElapsed } from './format.js';

/**
 * @typedef {{ kind: 'unknown' } | { kind: 'answers' } | { kind: 'fails', api?: string, code: string, calls: number, forMs: number }} ApiState
 *
 * @typedef {object} State The data of `snapshot` and `tick` events. A snapshot has the whole state.
 * @property {string} replica
 * @property {string} version
 * @property {'memory' | 'redis' | 'local'} ledger
 * @property {boolean} draining
 * @property {{ wouldWait: number, wouldShed: number }} [observed] Only in observe mode.
 * @property {boolean} canPause
 * @property {ApiState} api
 * @property {number} total
 * @property {number} step
 * @property {readonly import('./bucket-card.js').Bucket[]} buckets
 * @property {number} bucketsHidden
 * @property {readonly import('./chart.js').Point[]} points
 * @property {number} [stepMs]
 * @property {import('./calls.js').Calls} calls
 */

/** A tick arrives every second. After this time without one, the connection counts as lost. */
const SILENCE_MS = 5000;
const RETRY_MS = { first: 1000, last: 8000 };
const LEDGERS = {
  memory: 'in this process',
  redis: 'shared, in Redis',
  local: 'local, Redis is not available',
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

/** Connects or reconnects. The first event is a snapshot, so no earlier state is needed. */
function connect() {
  clearTimeout(timer);
  source?.close();
  const query = calls.query;
  const opened = new EventSource(query === '' ? 'events' : `events?${query}`);
  source = opened;
  opened.addEventListener('snapshot', (event) => show(JSON.parse(event.data), true));
  opened.addEventListener('tick', (event) => show(JSON.parse(event.data), false));
  opened.addEventListener('error', () => {
    showConnection('lost', 'Connection lost, reconnecting …');
    reconnectAfter(retryMs);
    retryMs = Math.min(retryMs * 2, RETRY_MS.last);
  });
  reconnectAfter(SILENCE_MS);
}

/** @param {number} ms */
function reconnectAfter(ms) {
  clearTimeout(timer);
  timer = setTimeout(() => {
    showConnection('lost', 'Connection lost, reconnecting …');
    connect();
  }, ms);
}

/** @param {State} state @param {boolean} isSnapshot */
function show(state, isSnapshot) {
  retryMs = RETRY_MS.first;
  reconnectAfter(SILENCE_MS);
  showConnection(state.draining ? 'draining' : 'live', state.draining ? 'Draining' : 'Live');
  setText(byId('replica'), state.replica);
  setText(byId('version'), state.version);
  setText(byId('ledger'), LEDGERS[state.ledger]);
  byId('ledger').dataset['mode'] = state.ledger;
  setText(byId('total'), formatCount(state.total));
  setText(byId('api'), describeApi(state.api));
  byId('api').dataset['state'] = state.api.kind;
  document.title = `Headgate · ${state.replica}`;
  showObserved(state);
  buckets.show(state.buckets, state.bucketsHidden, state.canPause);
  charts.show(state, isSnapshot);
  calls.show(state.calls, isSnapshot);
}

/** @param {State} state */
function showObserved({ observed, total }) {
  byId('observe').hidden = observed === undefined;
  if (observed === undefined) return;
  const { wouldWait, wouldShed } = observed;
  const calls = `${formatCount(total)} ${total === 1 ? 'call' : 'calls'}`;
  setText(
    byId('observed'),
    `Of ${calls} so far, ${formatCount(wouldWait)} would have waited and ${formatCount(wouldShed)} would have been shed.`,
  );
}

/** @param {ApiState} api */
function describeApi(api) {
  if (api.kind === 'unknown') return 'not called yet';
  if (api.kind === 'answers') return 'answers';
  const calls = api.calls === 1 ? 'the last call' : `the last ${formatCount(api.calls)} calls`;
  const name = api.api === undefined ? '' : `${api.api}: `;
  return `${name}no answer to ${calls}, for ${formatElapsed(api.forMs)} (${api.code})`;
}

/** @param {'live' | 'draining' | 'lost'} connection @param {string} text */
function showConnection(connection, text) {
  document.body.dataset['connection'] = connection;
  setText(byId('connection'), text);
}
