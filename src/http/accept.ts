/** How a version of the API is requested: as a parameter in Accept, or in a field of its own. */
export type VersionRequest =
  | { readonly kind: 'accept'; readonly version: string; readonly mediaType: string }
  | { readonly kind: 'field'; readonly version: string; readonly name: string };

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
  const elements = splitOutsideQuotes(joined, ',');
  if (elements.some(namesVersion)) return joined;
  const same = elements.findIndex((element) => typeOf(element) === mediaType.toLowerCase());
  if (same === -1) return [versioned, ...elements].join(', ');
  return elements
    .map((element, i) =>
      i === same ? versioned + element.slice(element.split(';', 1)[0]?.length) : element,
    )
    .join(', ');
}

/** Whether an element has a parameter `version`. */
function namesVersion(element: string): boolean {
  return splitOutsideQuotes(element, ';')
    .slice(1)
    .some((parameter) => {
      const [name = '', ...value] = parameter.split('=', 2);
      return value.length > 0 && name.trim().toLowerCase() === 'version';
    });
}

/**
 * The parts of a list between separators outside quoted strings, without empty parts. It reads each
 * character once: a caller can send 64 KiB, so a pattern that backtracks would block the process.
 */
function splitOutsideQuotes(list: string, separator: ',' | ';'): string[] {
  const parts: string[] = [];
  let start = 0;
  let isQuoted = false;
  for (let i = 0; i < list.length; i++) {
    const char = list[i];
    if (char === '"') isQuoted = !isQuoted;
    else if (char === '\\' && isQuoted) i++;
    else if (char === separator && !isQuoted) {
      parts.push(list.slice(start, i).trim());
      start = i + 1;
    }
  }
  parts.push(list.slice(start).trim());
  return parts.filter((part) => part !== '');
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
