import { isOfClass, makeCard } from './bucket-card.js';
import { byId, element, setText } from './dom.js';
import { formatCount } from './format.js';

/** @typedef {import('./bucket-card.js').Bucket} Bucket */

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

/** The buckets of each API and credential, the busiest first. */
export function makeBuckets() {
  const list = byId('buckets');
  const empty = byId('buckets-empty');
  const note = byId('buckets-note');
  /** @type {Map<string, ReturnType<typeof makeOwner>>} */
  const owners = new Map();
  /** @type {Map<string, ReturnType<typeof makeCard>>} */
  const cards = new Map();
  /** @type {Map<string, number>} The places of the buckets by id, as they are shown. */
  let places = new Map();
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
      removeOthers(cards, new Set(buckets.map(({ id }) => id)));
      removeOthers(owners, new Set(buckets.map(ownerOf)));
      // What the operator points at, or has reached with the keyboard, stays where it is.
      const isInUse = list.matches(':hover, :focus-within');
      const inOrder = isInUse ? asBefore(buckets, places) : busiestFirst(buckets);
      const parted = new Set(buckets.filter(isLearned).map(classOf));
      for (const [key, ofOwner] of Map.groupBy(inOrder, ownerOf)) {
        const owner = owners.get(key) ?? makeOwner(key, ofOwner);
        owners.set(key, owner);
        owner.show(ofOwner);
        for (const bucket of ofOwner) {
          const card = cards.get(bucket.id) ?? makeCard(bucket, colourOf, toggle);
          cards.set(bucket.id, card);
          card.show(bucket, canPause, parted.has(classOf(bucket)));
        }
        arrange(
          owner.list,
          ofOwner.map(({ id }) => cards.get(id)),
        );
      }
      const ownersInOrder = new Set(inOrder.map(ownerOf));
      arrange(
        list,
        [...ownersInOrder].map((key) => owners.get(key)),
      );
      places = new Map(inOrder.map(({ id }, place) => [id, place]));
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
 * The heading of one owner of buckets at an API, and the list of its cards.
 *
 * @param {string} key
 * @param {readonly Bucket[]} buckets
 */
function makeOwner(key, [first]) {
  const api = first?.api;
  const owner = api === undefined ? key : key.slice(api.length + 1);
  const name = element('h3', '');
  if (api !== undefined) name.append(element('span', 'of-api', api), ' ');
  const words = wordsFor(owner);
  const credential = element('span', words === undefined ? 'credential' : '', words ?? owner);
  credential.title = key;
  name.append(credential);
  const note = element('span', 'note');
  const list = element('ul', 'cards');
  const item = element('section', 'owner', element('div', 'heading', name, note), list);

  return {
    item,
    list,
    /** @param {readonly Bucket[]} buckets */
    show(buckets) {
      const named = buckets.find((bucket) => bucket.credential !== undefined)?.credential;
      if (named !== undefined) setText(credential, named);
      const waiting = buckets.reduce((sum, bucket) => sum + bucket.waiting, 0);
      setText(note, waiting === 0 || buckets.length === 1 ? '' : `${formatCount(waiting)} waiting`);
    },
  };
}

/** What the part of a bucket's id before its class says, unless it is a hash. @param {string} owner */
function wordsFor(owner) {
  if (owner === 'upstream') return 'all credentials';
  if (owner === 'own') return "the gateway's token";
  if (owner === 'anonymous') return 'without a credential';
  if (owner === 'quota') return 'quotas of callers';
  return owner.startsWith('account/') ? `account ${owner.slice('account/'.length)}` : undefined;
}

/** The API, if there are several, and the credential or account. @param {Bucket} bucket */
function ownerOf({ id }) {
  return id.slice(0, id.lastIndexOf(':'));
}

/** Whether answers showed that it is apart from its class's own. @param {Bucket} bucket */
function isLearned({ name, learned }) {
  return name !== undefined && learned !== undefined;
}

/** @param {Bucket} bucket */
function classOf(bucket) {
  return `${ownerOf(bucket)}:${bucket.class}`;
}

/**
 * @template {{ item: Element }} Shown
 * @param {Map<string, Shown>} shown
 * @param {ReadonlySet<string>} present
 */
function removeOthers(shown, present) {
  for (const [key, { item }] of shown) {
    if (present.has(key)) continue;
    item.remove();
    shown.delete(key);
  }
}

/**
 * Puts items into their order. An item is moved only where the order changed: a moved one loses the
 * keyboard's focus.
 *
 * @param {Element} parent
 * @param {readonly ({ item: Element } | undefined)[]} children
 */
function arrange(parent, children) {
  let place = parent.firstElementChild;
  for (const child of children) {
    if (child === undefined) continue;
    if (child.item === place) place = place.nextElementSibling;
    else parent.insertBefore(child.item, place);
  }
}

/** @param {readonly Bucket[]} buckets @param {ReadonlyMap<string, number>} places */
function asBefore(buckets, places) {
  const placeOf = (/** @type {Bucket} */ { id }) => places.get(id) ?? buckets.length;
  return [...buckets].sort((a, b) => placeOf(a) - placeOf(b));
}

/**
 * The busiest owner first, and its buckets by class. Within a class its own bucket is the first.
 *
 * @param {readonly Bucket[]} buckets
 */
function busiestFirst(buckets) {
  const ofOwners = loads(buckets, ownerOf);
  const ofClasses = loads(buckets, classOf);
  return buckets
    .map((bucket) => ({
      bucket,
      owner: ofOwners.get(ownerOf(bucket)) ?? IDLE,
      ofClass: ofClasses.get(classOf(bucket)) ?? IDLE,
      own: loadOf([bucket]),
    }))
    .sort(
      (a, b) =>
        byQueue(a.owner, b.owner) ||
        b.owner.leases - a.owner.leases ||
        a.owner.left - b.owner.left ||
        compare(ownerOf(a.bucket), ownerOf(b.bucket)) ||
        byQueue(a.ofClass, b.ofClass) ||
        compare(a.bucket.class, b.bucket.class) ||
        Number(isOfClass(a.bucket)) - Number(isOfClass(b.bucket)) ||
        byQueue(a.own, b.own) ||
        compare(a.bucket.id, b.bucket.id),
    )
    .map(({ bucket }) => bucket);
}

/** @typedef {{ waiting: number, stopped: number, leases: number, left: number }} Load */

/** @type {Load} */
const IDLE = { waiting: 0, stopped: 0, leases: 0, left: 1 };

/** @param {readonly Bucket[]} buckets @param {(bucket: Bucket) => string} keyOf */
function loads(buckets, keyOf) {
  const groups = [...Map.groupBy(buckets, keyOf)];
  return new Map(groups.map(([key, group]) => [key, loadOf(group)]));
}

/**
 * How busy buckets are, in orders of magnitude and quarters, so that they do not swap places at each
 * tick.
 *
 * @param {readonly Bucket[]} buckets
 * @returns {Load}
 */
function loadOf(buckets) {
  const sum = (/** @type {'waiting' | 'leases'} */ what) =>
    buckets.reduce((total, bucket) => total + bucket[what], 0);
  const quarters = buckets.map(({ limit = 0, remaining = 0 }) =>
    limit === 0 ? 4 : Math.ceil((4 * remaining) / limit),
  );
  const isStopped = (/** @type {Bucket} */ { paused, blockedForMs }) =>
    paused === true || blockedForMs !== undefined;
  return {
    waiting: Math.ceil(Math.log2(sum('waiting') + 1)),
    stopped: buckets.some(isStopped) ? 1 : 0,
    leases: Math.ceil(Math.log10(sum('leases') + 1)),
    left: Math.min(...quarters),
  };
}

/** @param {Load} a @param {Load} b */
function byQueue(a, b) {
  return b.waiting - a.waiting || b.stopped - a.stopped;
}

/** @param {string} a @param {string} b */
function compare(a, b) {
  if (a === b) return 0;
  return a < b ? -1 : 1;
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
