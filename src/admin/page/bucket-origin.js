import { element, setText } from './dom.js';

/** @typedef {import('./bucket-card.js').Bucket} Bucket */

/** How answers showed that a bucket is one. */
const REASONS = {
  named: 'Learned: the API names this bucket in its answers, or reports several in one answer.',
  limit: 'Learned: the API reports another limit for these routes than for others of the class.',
  counts:
    'Learned: what the API reports for these routes and for others of the class cannot be one counter.',
  refused:
    'Learned: the API reports nothing, and refused these routes while it accepted others of the class.',
};
/** As many routes as a bucket lists (`/buckets`). */
const MOST_ROUTES = 20;

/** Why a bucket is one of its own, and which routes spend from it; closed until it is opened. */
export function makeOrigin() {
  const summary = element('summary', '');
  const why = element('p', '');
  const routes = element('ul', 'routes');
  const item = element('details', 'origin', summary, why, routes);
  let listed = '';

  return {
    item,
    /** @param {Bucket} bucket @param {boolean} isParted Whether answers showed further buckets of its class. */
    show(bucket, isParted) {
      const origin = originOf(bucket, isParted);
      item.hidden = origin === undefined;
      if (origin === undefined) return;
      setText(summary, origin.summary);
      setText(why, origin.why);
      const wanted = origin.routes.join('\n');
      if (wanted === listed) return;
      listed = wanted;
      routes.replaceChildren(...origin.routes.map((route) => element('li', '', route)));
      if (origin.routes.length >= MOST_ROUTES) {
        routes.append(element('li', 'note', `the first ${MOST_ROUTES}`));
      }
    },
  };
}

/**
 * @param {Bucket} bucket
 * @param {boolean} isParted
 * @returns {{ summary: string, why: string, routes: readonly string[] } | undefined}
 */
function originOf({ class: className, name, stated, quota, learned }, isParted) {
  const routes = (learned?.routes ?? []).map((route) =>
    route === '*' ? 'all routes without a bucket of their own' : route,
  );
  if (name === undefined) {
    if (!isParted) return undefined;
    const why = "The class's own bucket: for routes that are not known to spend from another one.";
    return { summary: 'own bucket of the class', why, routes: routes.filter(isRoute) };
  }
  if (quota !== undefined) {
    const why = 'Stated in the settings: every request of this caller spends from it.';
    return { summary: 'quota', why, routes };
  }
  if (stated !== undefined) {
    const why =
      name === className
        ? 'Stated in the settings: a limit over the classes, or over those that it lists.'
        : 'Stated in the settings: every request of the class spends from it.';
    return { summary: 'stated', why, routes };
  }
  if (learned !== undefined) {
    const count = learned.routes.length;
    const isBase = learned.routes.includes('*');
    const many = isBase ? 'most routes' : `${count} ${count === 1 ? 'route' : 'routes'}`;
    return { summary: `learned, ${many}`, why: REASONS[learned.why], routes };
  }
  const why = 'Neither stated nor learned any more: no new request spends from it.';
  return { summary: 'no longer used', why, routes };
}

/** @param {string} route */
function isRoute(route) {
  return route.includes('/');
}
