/** A parameter `version` of any element, once the contents of quoted strings are removed. */
const VERSION = /;\s*version\s*=/i;
const QUOTED = /"(?:[^"\\]|\\.)*"/g;

/**
 * The Accept value to send to the API, which asks for `mediaType; version=…`.
 *
 * Several Accept lines are one list (RFC 9110 §5.3). A list that names a version is not changed. In
 * a list with the media type, the version is added to that element. Else the media type with its
 * version is put first, because the API refuses (406) a list without a version.
 */
export function ensureVersion(
  acceptLines: readonly string[],
  mediaType: string,
  version: string,
): string {
  const joined = acceptLines.filter((line) => line.trim() !== '').join(', ');
  const versioned = `${mediaType}; version=${version}`;
  if (joined === '' || joined === '*/*' || joined === mediaType) return versioned;
  if (VERSION.test(joined.replaceAll(QUOTED, '""'))) return joined;
  const elements = splitElements(joined);
  const same = elements.findIndex((element) => typeOf(element) === mediaType.toLowerCase());
  if (same === -1) return [versioned, ...elements].join(', ');
  return elements
    .map((element, i) =>
      i === same ? versioned + element.slice(element.split(';', 1)[0]?.length) : element,
    )
    .join(', ');
}

/** Splits a list at the commas outside quoted strings. */
function splitElements(list: string): string[] {
  const elements: string[] = [];
  let start = 0;
  let isQuoted = false;
  for (let i = 0; i < list.length; i++) {
    const char = list[i];
    if (char === '"') isQuoted = !isQuoted;
    else if (char === '\\' && isQuoted) i++;
    else if (char === ',' && !isQuoted) {
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

/** The codings that the gateway can decode; `identity` means no coding (RFC 9110 §8.4.1). */
const DECODABLE: ReadonlySet<string> = new Set([
  'br',
  'deflate',
  'gzip',
  'identity',
  'x-gzip',
  'zstd',
]);

/** What nearly all clients send: a list of common codings that need not be changed. */
const COMMON = /^\s*(?:(?:gzip|deflate|br|zstd|identity)\s*(?:;\s*q=[\d.]+\s*)?(?:,\s*|$))+$/;

/**
 * The Accept-Encoding value to send to the API: `value` without codings that the gateway cannot
 * decode. `*` stands for all codings that are not listed, so it is removed too, unless it refuses
 * them.
 */
export function decodableOnly(value: string): string {
  if (COMMON.test(value)) return value;
  const elements = value.split(',').map((element) => element.trim());
  const kept = elements.filter((element) => {
    const [coding = '', weight = ''] = element.split(';', 2);
    const name = coding.trim().toLowerCase();
    return DECODABLE.has(name) || (name === '*' && /^\s*q\s*=\s*0(?:\.0*)?\s*$/i.test(weight));
  });
  if (kept.length === elements.length) return value;
  return kept.length === 0 ? 'identity' : kept.join(', ');
}
