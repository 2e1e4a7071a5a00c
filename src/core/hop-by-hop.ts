/**
 * Fields that concern one connection (RFC 9110 §7.6.1). `TE` and `Upgrade` go too: we read trailers
 * whether or not the caller can, and offer no upgrades.
 */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'transfer-encoding',
  'upgrade',
]);

/**
 * What Connection may not name: a caller could otherwise strip what the message cannot be
 * understood, billed or authorised without.
 */
const NEVER_STRIPPED = new Set([
  'authorization',
  'cache-control',
  'content-encoding',
  'content-length',
  'content-type',
  'cookie',
  'host',
  'set-cookie',
]);

/** Nothing of the caller's identity goes to the API, nor what was meant for us. */
const IDENTIFYING = new Set([
  'forwarded',
  'x-real-ip',
  'x-client-ip',
  'x-cluster-client-ip',
  'true-client-ip',
  'cf-connecting-ip',
  'fastly-client-ip',
  'x-envoy-external-address',
]);
const IDENTIFYING_PREFIXES = ['headgate-', 'x-forwarded-'];

/** The end-to-end fields of the API's answer, in order, with their case and repetitions. */
export function endToEnd(rawHeaders: readonly string[]): string[] {
  return keep(rawHeaders, NONE, false);
}

/** The fields of a caller's request that go to the API, less those named in `replaced`. */
export function toTheApi(rawHeaders: readonly string[], replaced: ReadonlySet<string>): string[] {
  return keep(rawHeaders, replaced, true);
}

const NONE: ReadonlySet<string> = new Set();

function keep(
  rawHeaders: readonly string[],
  dropped: ReadonlySet<string>,
  fromCaller: boolean,
): string[] {
  const named = namedByConnection(rawHeaders);
  const kept: string[] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? '';
    const lower = name.toLowerCase();
    if (HOP_BY_HOP.has(lower) || dropped.has(lower) || named?.has(lower) === true) continue;
    if (fromCaller && identifies(lower)) continue;
    kept.push(name, rawHeaders[i + 1] ?? '');
  }
  return kept;
}

function identifies(lower: string): boolean {
  if (IDENTIFYING.has(lower)) return true;
  return IDENTIFYING_PREFIXES.some((prefix) => lower.startsWith(prefix));
}

/** The fields that Connection names; `undefined` in the usual case that it names none. */
function namedByConnection(rawHeaders: readonly string[]): Set<string> | undefined {
  let named: Set<string> | undefined;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? '';
    if (name.length !== CONNECTION_LENGTH || name.toLowerCase() !== 'connection') continue;
    for (const option of (rawHeaders[i + 1] ?? '').toLowerCase().split(',')) {
      const field = option.trim();
      if (field === '' || field === 'keep-alive' || field === 'close') continue;
      if (NEVER_STRIPPED.has(field)) continue;
      named ??= new Set();
      named.add(field);
    }
  }
  return named;
}

const CONNECTION_LENGTH = 'connection'.length;
