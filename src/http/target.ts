/** A request-target in its normal form, or the reason why it is refused. */
export type Target =
  | {
      readonly kind: 'ok';
      /**
       * Starts with a slash, without query, dot segments and encoded unreserved characters. Only
       * for `OPTIONS *` it is `*`, which stands for the API as a whole.
       */
      readonly path: string;
      /** Without the question mark; empty if there is none. */
      readonly query: string;
      /**
       * What is sent: byte for byte what arrived, where the path in it means the same as `path`.
       */
      readonly sent: string;
    }
  | { readonly kind: 'bad'; readonly reason: string }
  | { readonly kind: 'forbidden'; readonly reason: string };

export interface TargetOptions {
  /**
   * Whether an authority (`host` or `host:port`, in lower case) is the gateway's or its API's. An
   * absolute target with another authority is refused, even if the request has the same `Host`: a
   * client that uses the gateway as a forward proxy sends any host in both (RFC 9112 §3.2.2).
   */
  readonly isOurs: (authority: string) => boolean;
  /** Only OPTIONS may have the target `*` (RFC 9112 §3.2.4). */
  readonly method?: string;
  /** The longest target that is accepted, in characters. */
  readonly maxLength?: number;
}

/** The default of `maxLength`. */
export const MAX_TARGET_LENGTH = 16 * 1024;
/** Visible ASCII without `#`, which begins a fragment. */
const ALLOWED = /^[\x21\x22\x24-\x7E]*$/;
const BAD_ESCAPE = /%(?![0-9A-Fa-f]{2})/;
const ESCAPE = /%[0-9A-Fa-f]{2}/g;
const UNRESERVED = /[A-Za-z0-9\-._~]/;
const ABSOLUTE = /^(https?):\/\/([^/?#]*)(.*)$/i;

/**
 * Normalises a request-target, so that the same path is classified, masked, logged and sent.
 *
 * Dot segments are removed, also encoded ones. Escapes of unreserved characters are decoded, and
 * the digits of other escapes are put in upper case (RFC 3986 §6.2.2), so that a path has one class
 * however it is spelled. An encoded slash stays encoded, since it is data and not a separator. But
 * a dot segment beside an encoded slash, backslash or parameter (`..%2F`, `..;a`) is refused:
 * servers that decode before they route would leave the path that was classified. `//host` is a
 * path with an empty segment, never a host. No server routes by a query, so it is passed on as it
 * is, also with a `%` or a backslash in it.
 *
 * The path is sent as it was spelled if only escapes differ, which mean the same (RFC 3986 §6.2.2.2):
 * some APIs compare signatures over it.
 *
 * Nothing is resolved against a base or repaired: a doubtful target is refused, with a reason that
 * the caller may see. Normalisation is idempotent. Never throws.
 */
export function normaliseTarget(
  raw: string,
  { isOurs, method, maxLength = MAX_TARGET_LENGTH }: TargetOptions,
): Target {
  if (raw.length > maxLength) {
    return bad(`the request target is longer than ${maxLength} characters`);
  }
  if (raw === '*' && method === 'OPTIONS') {
    return { kind: 'ok', path: '*', query: '', sent: '*' };
  }
  if (!ALLOWED.test(raw)) {
    return bad('the request target has characters that must be percent-encoded');
  }
  if (raw.startsWith('/')) return split(raw);

  const absolute = ABSOLUTE.exec(raw);
  if (absolute === null) return bad('expected a request target that starts with a slash');
  const [, scheme = '', authority = '', rest = ''] = absolute;
  if (!isOurAuthority(scheme.toLowerCase(), authority.toLowerCase(), isOurs)) {
    return { kind: 'forbidden', reason: 'the request target names another host' };
  }
  return split(rest.startsWith('/') ? rest : `/${rest}`);
}

/** The default port of the scheme makes no difference to an authority (RFC 9110 §4.2.3). */
function isOurAuthority(
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
  const spelled = mark === -1 ? target : target.slice(0, mark);
  if (spelled.includes('\\')) return bad('the path has a backslash, which must be percent-encoded');
  if (BAD_ESCAPE.test(spelled)) {
    return bad('the path has a % that is not followed by two hexadecimal digits');
  }
  const unescaped = spelled.includes('%') ? spelled.replaceAll(ESCAPE, normaliseEscape) : spelled;
  // Decoding came first, since it turns %2e%2e into a dot segment.
  const path = unescaped.includes('/.') ? removeDotSegments(unescaped) : unescaped;
  if (hasHiddenDotSegment(path)) {
    return bad('the request target has a dot segment beside an encoded slash or a semicolon');
  }
  const query = mark === -1 ? '' : target.slice(mark + 1);
  if (path === unescaped) return { kind: 'ok', path, query, sent: target };
  return { kind: 'ok', path, query, sent: mark === -1 ? path : path + target.slice(mark) };
}

/**
 * Whether a server that decodes escapes, even several times, or removes parameters of segments
 * would find a dot segment in a normalised path.
 */
function hasHiddenDotSegment(path: string): boolean {
  if (!path.includes('%') && !path.includes(';')) return false;
  let decoded = path;
  for (let times = 0; times < MAX_DECODINGS; times++) {
    if (decoded.split(SEPARATOR).some((part) => part === '.' || part === '..')) return true;
    const next = decoded.replaceAll(SPECIAL_ESCAPE, decodeEscape);
    if (next === decoded) return false;
    decoded = next;
  }
  // No client encodes a path so often.
  return true;
}

/** An escape of an escape of … a dot is decoded by as many servers in a row, which are never more. */
const MAX_DECODINGS = 5;
const SEPARATOR = /[/\\;]/;
/** Escapes of `%`, `.`, `/`, `;` and the backslash. */
const SPECIAL_ESCAPE = /%(?:25|2E|2F|3B|5C)/gi;

function decodeEscape(escape: string): string {
  return String.fromCharCode(Number.parseInt(escape.slice(1), 16));
}

function normaliseEscape(escape: string): string {
  const character = String.fromCharCode(Number.parseInt(escape.slice(1), 16));
  return UNRESERVED.test(character) ? character : escape.toUpperCase();
}

/** RFC 3986 §5.2.4. An empty segment counts: `..` after it removes only that segment. */
function removeDotSegments(path: string): string {
  const kept: string[] = [];
  const segments = path.split('/').slice(1);
  const last = segments.at(-1);
  for (const segment of segments) {
    if (segment === '..') kept.pop();
    else if (segment !== '.') kept.push(segment);
  }
  // A dot segment at the end is removed, but the slash before it stays.
  if (last === '.' || last === '..') kept.push('');
  return `/${kept.join('/')}`;
}

function bad(reason: string): Target {
  return { kind: 'bad', reason };
}

/** Whether a normalised path is below a prefix such as `/v4`, or the prefix itself. */
export function isBelow(path: string, prefix: string): boolean {
  return path.startsWith(prefix) && (path.length === prefix.length || path[prefix.length] === '/');
}

/** A target of an API whose base URL a prefix stands for. */
export interface RelativeTarget {
  /** Below the prefix. */
  readonly path: string;
  readonly query: string;
  /** What is sent behind the base path: without the prefix, otherwise as it was spelled. */
  readonly sent: string;
}

/**
 * Removes a prefix from a normalised target below it. The spelled path has as many segments as the
 * normalised one, because an encoded slash is no separator. So the segments of the prefix are
 * removed, however their characters are encoded. A target that is the prefix itself becomes empty,
 * so that the base URL itself is requested.
 */
export function removePrefix(target: RelativeTarget, prefix: string): RelativeTarget {
  if (prefix === '') return target;
  const { path, query, sent } = target;
  let at = 0;
  for (let left = prefix.split('/').length - 1; left > 0 && at !== -1; left--) {
    at = sent.indexOf('/', at + 1);
  }
  const mark = sent.indexOf('?');
  const end = at === -1 || (mark !== -1 && mark < at) ? mark : at;
  return {
    path: path.length === prefix.length ? '/' : path.slice(prefix.length),
    query,
    sent: end === -1 ? '' : sent.slice(end),
  };
}

/** Replaces a secret segment of a path in logs. */
const HIDDEN = '***';

/**
 * Hides the secret segments of a normalised path, for logs. A mask is a path whose `*` segments are
 * secret: `/tokens/*` hides the second segment of `/tokens/abc` and of `/tokens/abc/def`.
 *
 * A mask matches whatever the case, with empty segments, with parameters of segments (`;a=1`), and
 * with encoded slashes and backslashes, which many servers decode before they route. A secret
 * extends to the next unencoded slash, so that all of a secret with an encoded slash is hidden.
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
      at = skipParameters(path, at);
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

/** The end of the parameters (`;a=1`) that begin at `from`, if any do. */
function skipParameters(path: string, from: number): number {
  if (path.charAt(from) !== ';' && path.slice(from, from + 3).toUpperCase() !== '%3B') return from;
  let at = from;
  while (at < path.length && slashWidth(path, at) === 0) at++;
  return at;
}

/** The length of the slash or backslash at `at`: 1, or 3 if it is encoded; 0 if there is none. */
function slashWidth(path: string, at: number): number {
  if (path.charAt(at) === '/') return 1;
  const escape = path.slice(at, at + 3).toUpperCase();
  return escape === '%2F' || escape === '%5C' ? 3 : 0;
}

/**
 * Makes the function that hides the values of secret parameters in a query, for logs. `names` are
 * the parameters' names.
 *
 * A name matches whatever its case and however it is percent-encoded, also with an index behind it
 * (`token[]`, `token[0]`). A parameter may begin after `&` or `;`, as some servers read a query. Its
 * value is hidden to the next `&`, so that all of a secret with a semicolon is hidden.
 */
export function makeQueryMask(names: readonly string[]): (query: string) => string {
  const secret = new Set(names.map(parameterName));
  if (secret.size === 0) return (query) => query;

  function maskParameters(text: string): string {
    for (let from = 0; from < text.length;) {
      const semicolon = text.indexOf(';', from);
      const end = semicolon === -1 ? text.length : semicolon;
      const equals = text.slice(from, end).indexOf('=');
      if (equals !== -1 && secret.has(parameterName(text.slice(from, from + equals)))) {
        return `${text.slice(0, from + equals + 1)}${HIDDEN}`;
      }
      from = end + 1;
    }
    return text;
  }

  return (query) => (query === '' ? query : query.split('&').map(maskParameters).join('&'));
}

/** A parameter's name in the form in which names are compared. */
function parameterName(spelled: string): string {
  const spaced = spelled.replaceAll('+', ' ');
  const decoded = spaced.includes('%') ? spaced.replaceAll(ESCAPE, decodeEscape) : spaced;
  const index = decoded.indexOf('[');
  return (index > 0 ? decoded.slice(0, index) : decoded).trim().toLowerCase();
}
