/** The codings that we can read, `identity` being none (RFC 9110 §8.4.1). */
const READABLE: ReadonlySet<string> = new Set([
  'br',
  'deflate',
  'gzip',
  'identity',
  'x-gzip',
  'zstd',
]);

/** What nearly every client asks for: nothing but codings that we know. */
const USUAL = /^\s*(?:(?:gzip|deflate|br|zstd|identity)\s*(?:;\s*q=[\d.]+\s*)?(?:,\s*|$))+$/;

/**
 * An Accept-Encoding value that asks for nothing which we cannot read: `value` less its other
 * codings. `*` stands for codings that nobody names, so it goes too, unless it refuses them.
 */
export function readableOnly(value: string): string {
  if (USUAL.test(value)) return value;
  const elements = value.split(',').map((element) => element.trim());
  const kept = elements.filter((element) => {
    const [coding = '', weight = ''] = element.split(';', 2);
    const name = coding.trim().toLowerCase();
    return READABLE.has(name) || (name === '*' && /^\s*q\s*=\s*0(?:\.0*)?\s*$/i.test(weight));
  });
  if (kept.length === elements.length) return value;
  return kept.length === 0 ? 'identity' : kept.join(', ');
}
