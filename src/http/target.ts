/** A request-target taken apart and put into its one normal form, or why it was not. */
export type Target =
  | {
      readonly kind: 'ok';
      /**
       * Starts with a slash; no query, no dot segments, unreserved characters not encoded. For
       * `OPTIONS *`, and for nothing else, it is `*`, which names the API as a whole.
       */
      readonly path: string;
      /** Without the question mark; empty when there is none. */
      readonly query: string;
    }
  | { readonly kind: 'bad'; readonly reason: string }
  | { readonly kind: 'forbidden'; readonly reason: string };

export interface TargetOptions {
  /**
   * Whether an authority (`host` or `host:port`, in lower case) names us or our API: an absolute
   * target for any other is refused. Being equal to the request's `Host` proves nothing, since who
   * takes us for a forward proxy sends any host in both (RFC 9112 §3.2.2).
   */
  readonly isOurs: (authority: string) => boolean;
  /** Only OPTIONS may have the target `*` (RFC 9112 §3.2.4). */
  readonly method?: string;
  /** Longest target accepted, in characters. */
  readonly maxLength?: number;
}

/** Longest target that is accepted unless somebody says otherwise, in characters. */
export const MOST_TARGET = 16 * 1024;
/** Visible ASCII less the backslash, which some servers take for a slash, and `#`. */
const ALLOWED = /^[\x21\x22\x24-\x5B\x5D-\x7E]*$/;
const BAD_ESCAPE = /%(?![0-9A-Fa-f]{2})/;
const ESCAPE = /%[0-9A-Fa-f]{2}/g;
const UNRESERVED = /[A-Za-z0-9\-._~]/;
const ABSOLUTE = /^(https?):\/\/([^/?#]*)(.*)$/i;

/**
 * Normalises a request-target once, so that what is classified, masked and logged is what is sent.
 *
 * Dot segments go, encoded ones too; escapes of unreserved characters are decoded and the digits of
 * the others put in upper case (RFC 3986 §6.2.2), so that no spelling of a path dodges its class. An
 * encoded slash stays encoded, for it is data and not a separator. `//host` is a path with an empty
 * segment, never a host. The query is checked but stays as it came. Nothing is resolved against a
 * base, and nothing is repaired: what is doubtful is refused, with a reason that can be shown.
 * Normalising the outcome again changes nothing. Never throws.
 */
export function normaliseTarget(
  raw: string,
  { isOurs, method, maxLength = MOST_TARGET }: TargetOptions,
): Target {
  if (raw.length > maxLength) {
    return bad(`the request target is longer than ${maxLength} characters`);
  }
  if (raw === '*' && method === 'OPTIONS') return { kind: 'ok', path: '*', query: '' };
  if (!ALLOWED.test(raw)) {
    return bad('the request target has characters in it that must be percent-encoded');
  }
  if (BAD_ESCAPE.test(raw)) {
    return bad('the request target has a % in it that two hexadecimal digits do not follow');
  }
  if (raw.startsWith('/')) return split(raw);

  const absolute = ABSOLUTE.exec(raw);
  if (absolute === null) return bad('expected a request target that starts with a slash');
  const [, scheme = '', authority = '', rest = ''] = absolute;
  if (!namesUs(scheme.toLowerCase(), authority.toLowerCase(), isOurs)) {
    return { kind: 'forbidden', reason: 'the request target names another host' };
  }
  return split(rest.startsWith('/') ? rest : `/${rest}`);
}

/** An authority with its scheme's own port is the authority without (RFC 9110 §4.2.3). */
function namesUs(
  scheme: string,
  authority: string,
  isOurs: (authority: string) => boolean,
): boolean {
  if (isOurs(authority)) return true;
  const port = scheme === 'https' ? ':443' : ':80';
  return authority.endsWith(port) && isOurs(authority.slice(0, -port.length));
}

function split(target: string): Target {
  const mark = target.indexOf('?');
  if (mark === -1) return { kind: 'ok', path: normalisePath(target), query: '' };
  const path = normalisePath(target.slice(0, mark));
  return { kind: 'ok', path, query: target.slice(mark + 1) };
}

function normalisePath(path: string): string {
  // Decoding comes first: it is what turns %2e%2e into a dot segment.
  const decoded = path.includes('%') ? path.replaceAll(ESCAPE, normaliseEscape) : path;
  return decoded.includes('/.') ? removeDotSegments(decoded) : decoded;
}

function normaliseEscape(escape: string): string {
  const character = String.fromCharCode(Number.parseInt(escape.slice(1), 16));
  return UNRESERVED.test(character) ? character : escape.toUpperCase();
}

/** RFC 3986 §5.2.4. An empty segment is a segment: `..` after it removes only it. */
function removeDotSegments(path: string): string {
  const kept: string[] = [];
  const segments = path.split('/').slice(1);
  const last = segments.at(-1);
  for (const segment of segments) {
    if (segment === '..') kept.pop();
    else if (segment !== '.') kept.push(segment);
  }
  // A dot segment at the end leaves the slash before it.
  if (last === '.' || last === '..') kept.push('');
  return `/${kept.join('/')}`;
}

function bad(reason: string): Target {
  return { kind: 'bad', reason };
}

/** What a hidden part of a path looks like in logs. */
const HIDDEN = '***';

/**
 * Hides the secret segments of a normalised path, for logs. A mask is a path whose `*` segments are
 * secret: `/tokens/*` hides the second segment of `/tokens/abc` and of `/tokens/abc/def`.
 *
 * A mask is not dodged by case, by empty segments, or by an encoded slash, which many servers decode
 * before they route: a secret goes on to the next real slash, so that none with an encoded slash in
 * it shows its end.
 */
export function maskPath(path: string, masks: readonly string[]): string {
  let masked = path;
  for (const mask of masks) masked = applyMask(masked, mask);
  return masked;
}

function applyMask(path: string, mask: string): string {
  let masked = '';
  let copiedTo = 0;
  let at = 0;
  for (const part of mask.split('/')) {
    if (part === '') continue;
    const from = skipSlashes(path, at);
    if (part === '*') {
      const slash = path.indexOf('/', from);
      at = slash === -1 ? path.length : slash;
      if (at === from) return path;
      masked += path.slice(copiedTo, from) + HIDDEN;
      copiedTo = at;
    } else {
      at = from + part.length;
      if (path.slice(from, at).toLowerCase() !== part.toLowerCase()) return path;
      if (at < path.length && slashWidth(path, at) === 0) return path;
    }
  }
  return masked + path.slice(copiedTo);
}

function skipSlashes(path: string, from: number): number {
  let at = from;
  for (let width = slashWidth(path, at); width > 0; width = slashWidth(path, at)) at += width;
  return at;
}

/** How long the slash is that stands at `at`, plain or encoded; 0 if there is none. */
function slashWidth(path: string, at: number): number {
  if (path.charAt(at) === '/') return 1;
  return path.slice(at, at + 3).toUpperCase() === '%2F' ? 3 : 0;
}
