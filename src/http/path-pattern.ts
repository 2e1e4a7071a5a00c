/** Whether a path has the form that a pattern describes. The path is folded ({@link foldPath}). */
export type PathPattern = (folded: string) => boolean;

/** The literal pieces of a pattern's segment, between which its stars are. */
type Pieces = readonly [first: string, ...further: string[]];

/** A segment of a pattern that stands for any number of segments. */
const ANY_SEGMENTS = '**';

/** The pattern that every path has, also the `*` of `OPTIONS *`. */
export const EVERY_PATH = '/**';

/**
 * Reads a pattern of paths. A `*` stands for any characters within one segment, also for none, but no
 * segment is empty. A segment `**` stands for any number of segments, also for none.
 *
 * A match takes time in proportion to the product of both lengths at most. The test of a path without
 * stars, or with `/**` at its end alone, is one comparison, and makes no object.
 */
export function makePathPattern(pattern: string): PathPattern {
  const text = normalPattern(pattern);
  if (text === EVERY_PATH) return () => true;
  const firstStar = text.indexOf('*');
  if (firstStar === -1) return (folded) => folded === text;
  const start = text.lastIndexOf('/', firstStar) + 1;
  const literal = text.slice(0, start);
  if (text.slice(start) === ANY_SEGMENTS) {
    const base = literal.slice(0, -1);
    return (folded) => folded.startsWith(literal) || folded === base;
  }
  const segments = text.slice(start).split('/').map(readSegment);
  // Most paths differ from a pattern before its first star.
  return (folded) => folded.startsWith(literal) && matchSegments(folded, start, segments);
}

function readSegment(text: string): Pieces | typeof ANY_SEGMENTS {
  if (text === ANY_SEGMENTS) return ANY_SEGMENTS;
  const [first = '', ...further] = text.split('*');
  return [first, ...further];
}

/**
 * Whether the segments of a path from the position `start` match. A `**` takes one segment more
 * whenever the segments behind it do not match. Only the last `**` is tried again: an earlier one that
 * takes more leaves no more to the last one than it has already.
 */
function matchSegments(
  path: string,
  start: number,
  segments: readonly (Pieces | typeof ANY_SEGMENTS)[],
): boolean {
  let at = 0;
  let from = start;
  let retryAt: number | undefined;
  let retryFrom = start;
  for (;;) {
    const segment = segments[at];
    if (segment === ANY_SEGMENTS) {
      at++;
      if (at === segments.length) return true;
      retryAt = at;
      retryFrom = from;
      continue;
    }
    if (from > path.length) return segment === undefined;
    const to = endOfSegment(path, from);
    if (segment !== undefined && matchesPieces(path.slice(from, to), segment)) {
      at++;
      from = to + 1;
    } else {
      if (retryAt === undefined) return false;
      at = retryAt;
      retryFrom = endOfSegment(path, retryFrom) + 1;
      from = retryFrom;
    }
  }
}

function endOfSegment(path: string, from: number): number {
  const slash = path.indexOf('/', from);
  return slash === -1 ? path.length : slash;
}

/** Whether a segment begins and ends as the pieces do, with the others between them in their order. */
function matchesPieces(segment: string, pieces: Pieces): boolean {
  const last = pieces.length - 1;
  const [first] = pieces;
  if (last === 0) return segment === first;
  const end = segment.length - (pieces[last]?.length ?? 0);
  let at = first.length;
  if (segment === '' || at > end) return false;
  if (!segment.startsWith(first) || !segment.endsWith(pieces[last] ?? '')) return false;
  for (let i = 1; i < last; i++) {
    const piece = pieces[i] ?? '';
    const found = segment.indexOf(piece, at);
    if (found === -1) return false;
    at = found + piece.length;
  }
  return at <= end;
}

/**
 * Whether every path that matches `narrow` also matches `wide`; `false` also where it is not obvious.
 *
 * The text of `narrow` is matched as if it were a path: only a star of `wide` can take a star in it,
 * and takes then whatever that star stands for. A `**` becomes an empty segment, which only `**` takes.
 */
export function coversPattern(wide: string, narrow: string): boolean {
  const text = normalPattern(narrow);
  if (text === EVERY_PATH) return normalPattern(wide) === EVERY_PATH;
  return makePathPattern(wide)(text.replaceAll(/(?<=\/)\*\*(?=\/|$)/g, ''));
}

/** The form of a pattern that requests are compared with; any other form matches none. */
export function normalPattern(pattern: string): string {
  return foldPath(pattern).replaceAll(/(?:\/\*\*)+(?=\/|$)/g, EVERY_PATH);
}

/** Most paths, of which nothing has to be folded. */
const FOLDED = /^(?:\/[a-z0-9._~-]+)+$/;

/**
 * A path as the most lenient server reads it: lower case, encoded slashes and backslashes decoded,
 * without parameters of segments (`;a=1`), empty segments and a trailing slash.
 */
export function foldPath(path: string): string {
  if (FOLDED.test(path)) return path;
  const slashes = path.toLowerCase().replaceAll(/%2f|%5c/g, '/');
  const plain = slashes.replaceAll(/(?:;|%3b)[^/]*/g, '').replaceAll(/\/{2,}/g, '/');
  return plain.length > 1 && plain.endsWith('/') ? plain.slice(0, -1) : plain;
}
