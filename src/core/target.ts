/** A request-target taken apart and put into its one normal form, or why it was not. */
export type Target =
  | {
      readonly kind: 'ok';
      /** Starts with a slash; no query, no dot segments, unreserved characters not encoded. */
      readonly path: string;
      /** Without the question mark; empty when there is none. */
      readonly query: string;
    }
  | { readonly kind: 'bad'; readonly reason: string }
  | { readonly kind: 'forbidden'; readonly reason: string };

export interface TargetOptions {
  /** Whether an authority names us or our API: an absolute target for any other is refused. */
  readonly isOurs: (authority: string) => boolean;
  /** Longest target accepted, in characters. */
  readonly maxLength?: number;
}

const MAX_LENGTH = 16 * 1024;
/** What may stand in a target (RFC 3986), less `#`, which never goes on the wire. */
const ALLOWED = /^[A-Za-z0-9\-._~:/?[\]@!$&'()*+,;=%|{}^`"<>]*$/;
const BAD_ESCAPE = /%(?![0-9A-Fa-f]{2})/;
const ABSOLUTE = /^https?:\/\/([^/?#]*)(.*)$/i;

/**
 * Normalises a request-target once, so that what is classified, masked and logged is what is sent.
 *
 * Dot segments go, encoded ones too; escapes of unreserved characters are decoded and the others'
 * digits put in upper case (RFC 3986 §6.2.2), so that no spelling of a path dodges its class. An
 * encoded slash stays encoded. `//host` is a path with an empty segment, never a host. Nothing is
 * resolved against a base, and nothing is repaired: what is doubtful is refused.
 */
export function normaliseTarget(
  raw: string,
  { isOurs, maxLength = MAX_LENGTH }: TargetOptions,
): Target {
  if (raw.length > maxLength) {
    return bad(`the request target is longer than ${maxLength} characters`);
  }
  let target = raw;
  if (!raw.startsWith('/')) {
    const absolute = ABSOLUTE.exec(raw);
    if (absolute === null) return bad('expected a request target that starts with a slash');
    const [, authority = '', rest = ''] = absolute;
    if (!isOurs(authority.toLowerCase()))
      return { kind: 'forbidden', reason: 'the request target names another host' };
    target = rest.startsWith('/') ? rest : `/${rest}`;
  }
  if (PLAIN.test(target)) return { kind: 'ok', path: target, query: '' };
  if (!ALLOWED.test(target)) {
    return bad('the request target holds characters that must be percent-encoded');
  }
  if (BAD_ESCAPE.test(target)) return bad('the request target holds a broken percent-encoding');
  const mark = target.indexOf('?');
  const path = mark === -1 ? target : target.slice(0, mark);
  const query = mark === -1 ? '' : target.slice(mark + 1);
  return { kind: 'ok', path: withoutDots(path.replaceAll(ESCAPE, normalEscape)), query };
}

/** A path in which there is nothing to normalise: the usual case, and half the cost. */
const PLAIN = /^(?:\/[A-Za-z0-9_~-][A-Za-z0-9_~.-]*)+\/?$/;
const ESCAPE = /%[0-9A-Fa-f]{2}/g;

function normalEscape(escape: string): string {
  const char = String.fromCharCode(Number.parseInt(escape.slice(1), 16));
  return /[A-Za-z0-9\-._~]/.test(char) ? char : escape.toUpperCase();
}

/** RFC 3986 §5.2.4. */
function withoutDots(path: string): string {
  const segments = path.split('/');
  const kept: string[] = [];
  segments.shift();
  segments.forEach((segment, i) => {
    const last = i === segments.length - 1;
    if (segment === '.') {
      if (last) kept.push('');
    } else if (segment === '..') {
      kept.pop();
      if (last) kept.push('');
    } else {
      kept.push(segment);
    }
  });
  return `/${kept.join('/')}`;
}

function bad(reason: string): Target {
  return { kind: 'bad', reason };
}

/** What a hidden part of a path looks like in logs. */
const HIDDEN = '***';

/**
 * Hides the secret segments of a path, for logs. A mask is a path whose `*` segments are secret:
 * `/tokens/*` hides the second segment of `/tokens/abc` and of `/tokens/abc/def`. Case and empty
 * segments do not dodge it.
 */
export function maskPath(path: string, masks: readonly string[]): string {
  let masked = path;
  for (const mask of masks) masked = applyMask(masked, mask);
  return masked;
}

function applyMask(path: string, mask: string): string {
  const pattern = mask.split('/').filter((part) => part !== '');
  const segments = path.split('/');
  let at = 0;
  const hidden: number[] = [];
  for (const part of pattern) {
    while (segments[at] === '') at++;
    const segment = segments[at];
    if (segment === undefined) return path;
    if (part === '*') hidden.push(at);
    else if (part.toLowerCase() !== segment.toLowerCase()) return path;
    at++;
  }
  return segments.map((segment, i) => (hidden.includes(i) ? HIDDEN : segment)).join('/');
}
