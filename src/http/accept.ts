/** A parameter `version` of any element; the word inside a quoted string is no parameter. */
const VERSION = /;\s*version\s*=/i;
const QUOTED = /"(?:[^"\\]|\\.)*"/g;

/**
 * The Accept value to send to the API: one that asks for `mediaType; version=…`.
 *
 * A caller that names a version itself is left alone. Several Accept lines are one list (RFC 9110
 * §5.3). Where the list asks for the media type without a version, or for anything, the version is
 * put in its place and the rest stays; where it asks for other types only, ours is put first, since
 * the API refuses (406) what names no version.
 */
export function ensureVersion(
  acceptLines: readonly string[],
  mediaType: string,
  version: string,
): string {
  const joined = acceptLines.filter((line) => line.trim() !== '').join(', ');
  const wanted = `${mediaType}; version=${version}`;
  if (joined === '' || joined === '*/*' || joined === mediaType) return wanted;
  if (VERSION.test(joined.replaceAll(QUOTED, '""'))) return joined;
  const elements = splitElements(joined);
  const same = elements.findIndex((element) => typeOf(element) === mediaType.toLowerCase());
  if (same === -1) return [wanted, ...elements].join(', ');
  return elements
    .map((element, i) =>
      i === same ? wanted + element.slice(element.split(';', 1)[0]?.length) : element,
    )
    .join(', ');
}

/** Splits at the commas that stand outside quoted strings. */
function splitElements(list: string): string[] {
  const elements: string[] = [];
  let start = 0;
  let quoted = false;
  for (let i = 0; i < list.length; i++) {
    const char = list[i];
    if (char === '"') quoted = !quoted;
    else if (char === '\\' && quoted) i++;
    else if (char === ',' && !quoted) {
      elements.push(list.slice(start, i).trim());
      start = i + 1;
    }
  }
  elements.push(list.slice(start).trim());
  return elements.filter((element) => element !== '');
}

function typeOf(element: string): string {
  return (element.split(';', 1)[0] ?? '').trim().toLowerCase();
}
