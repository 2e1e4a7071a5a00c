/** A route: its method and path with ids masked, and the first id. */
export interface RouteTemplate {
  /** Such as `GET /channels/{id}/messages`; at most {@link MAX_LENGTH} characters. */
  readonly template: string;
  /** The first id of the path; empty if it has none. APIs that count per id count by this one. */
  readonly id: string;
}

/** Reads the route of a request: {@link routeTemplate}, behind what hides secret parts of paths. */
export type ReadRoute = (method: string, path: string) => RouteTemplate;

/** A longer path is cut, and the rest counts as one id. */
const MAX_LENGTH = 200;
/** A longer segment is an id, whatever it consists of. */
const MAX_SEGMENT = 64;
const MASK = '{id}';

/**
 * Returns the route of a request. The query does not belong to it. A segment is an id if it is
 *
 * - a number, or several with commas between them;
 * - a UUID, or at least 16 hexadecimal digits with a decimal one among them;
 * - at least 8 capitals and digits, with two digits among them (`C024BE91L`);
 * - at least 12 letters and digits of both cases, with a digit among them (`cus_NffrFeUfNV2Hib`);
 * - at least 20 such characters with three digits among them;
 * - an address with `@`, or longer than 64 characters.
 *
 * Names that users choose, such as those of repositories, look like the API's own words. Each of them
 * makes a route of its own, so what is kept per route must be bounded.
 */
export function routeTemplate(method: string, path: string): RouteTemplate {
  const query = path.indexOf('?');
  const whole = query === -1 ? path.length : query;
  const end = Math.min(whole, MAX_LENGTH - method.length - MASK.length - 2);
  let masked = '';
  let id = '';
  /** Up to where `masked` stands for the path. */
  let done = 0;
  let from = 0;
  while (from < end) {
    if (path.charCodeAt(from) === SLASH) from++;
    let to = path.indexOf('/', from);
    if (to === -1 || to > whole) to = whole;
    if (to > end || isId(path, from, to)) {
      if (to > end) to = whole;
      if (id === '') id = path.slice(from, Math.min(to, from + MAX_LENGTH));
      masked += path.slice(done, from) + MASK;
      done = to;
    }
    from = to;
  }
  const isPlain = done === 0 && whole === path.length;
  if (isPlain) return { template: `${method} ${path}`, id };
  return { template: `${method} ${masked}${path.slice(done, whole)}`.slice(0, MAX_LENGTH), id };
}

const SLASH = 47;

function isId(path: string, from: number, to: number): boolean {
  const length = to - from;
  if (length > MAX_SEGMENT) return true;
  let digits = 0;
  let commas = 0;
  let capitals = 0;
  let small = 0;
  let hexadecimal = 0;
  let marks = 0;
  for (let at = from; at < to; at++) {
    const code = path.charCodeAt(at);
    if (code >= 48 && code <= 57) digits++;
    else if (code >= 65 && code <= 90) {
      capitals++;
      if (code <= 70) hexadecimal++;
    } else if (code >= 97 && code <= 122) {
      small++;
      if (code <= 102) hexadecimal++;
    } else if (code === 44) commas++;
    else if (code === 45 || code === 95) marks++;
    else if (code === 64) return true;
    // `%40` is an encoded `@`.
    else if (code === 37 && path.charCodeAt(at + 1) === 52 && path.charCodeAt(at + 2) === 48) {
      return true;
    } else return false;
  }
  if (digits === 0) return false;
  if (digits + commas === length) return true;
  if (commas > 0) return false;
  const isHexadecimal = digits + hexadecimal + marks === length;
  if (isHexadecimal && (marks === 0 ? length >= 16 : length === 36 && marks === 4)) return true;
  if (length >= 8 && digits >= 2 && digits + capitals === length) return true;
  if (length >= 12 && capitals > 0 && small > 0) return true;
  return length >= 20 && digits >= 3;
}
