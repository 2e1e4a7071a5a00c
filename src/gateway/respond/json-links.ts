import { Transform, type TransformCallback } from 'node:stream';
import { JsonScalarScanner, type Span } from '../../http/json-scalars.ts';
import { rewriteLink, type LinkMap } from '../../http/links.ts';

/** The part of a body that is kept, to rewrite links in it, in decoded bytes. */
export const MAX_REWRITTEN_BYTES = 1024 * 1024;

/** Rewrites the first {@link MAX_REWRITTEN_BYTES} of a decoded body, and passes on the rest. */
export class RewriteStart extends Transform {
  readonly #rewrite: (plain: Buffer) => Buffer;
  #start: Buffer[] | undefined = [];
  #bytes = 0;

  constructor(rewrite: (plain: Buffer) => Buffer) {
    super();
    this.#rewrite = rewrite;
  }

  override _transform(chunk: Buffer, _encoding: string, done: TransformCallback): void {
    if (this.#start === undefined) return done(null, chunk);
    this.#start.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes < MAX_REWRITTEN_BYTES) return done();
    done(null, this.#rewritten());
  }

  override _flush(done: TransformCallback): void {
    done(null, this.#start === undefined ? undefined : this.#rewritten());
  }

  #rewritten(): Buffer {
    const start = Buffer.concat(this.#start ?? []);
    this.#start = undefined;
    return this.#rewrite(start);
  }
}

/** A longer string is no link that is held until its end arrives. */
const MAX_LINK_BYTES = 64 * 1024;

/** Rewrites the links at `pointers`, and holds nothing but a link whose end has not arrived. */
export class RewriteInPassing extends Transform {
  readonly #scanner: JsonScalarScanner;
  readonly #map: LinkMap;
  #held = Buffer.alloc(0);
  /** The position of the held bytes in the body. */
  #heldAt = 0;

  constructor(pointers: readonly string[], map: LinkMap) {
    super();
    this.#scanner = new JsonScalarScanner(pointers);
    this.#map = map;
  }

  override _transform(chunk: Buffer, _encoding: string, done: TransformCallback): void {
    const bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    let copiedTo = 0;
    for (const span of this.#scanner.push(chunk.toString('latin1'))) {
      const [start, end] = [span.start - this.#heldAt, span.end - this.#heldAt];
      const rewritten = rewriteSpan(bytes, { start, end }, this.#map);
      if (rewritten === undefined) continue;
      this.push(bytes.subarray(copiedTo, start));
      this.push(rewritten);
      copiedTo = end;
    }
    let passedTo = (this.#scanner.openScalar ?? this.#heldAt + bytes.length) - this.#heldAt;
    if (bytes.length - passedTo > MAX_LINK_BYTES) {
      this.#scanner.ignoreOpenScalar();
      passedTo = bytes.length;
    }
    this.push(bytes.subarray(copiedTo, passedTo));
    // A copy: a part would keep the whole chunk in memory.
    this.#held = Buffer.from(bytes.subarray(passedTo));
    this.#heldAt += passedTo;
    done();
  }

  override _flush(done: TransformCallback): void {
    done(null, this.#held);
  }
}

/**
 * Rewrites the links at `pointers`; `undefined` if there are none to rewrite. The text is read as
 * Latin-1, which keeps each byte outside the links, whatever the encoding of the text is.
 */
export function rewriteJson(
  plain: Buffer,
  pointers: readonly string[],
  map: LinkMap,
): Buffer | undefined {
  const json = plain.toString('latin1');
  let rewritten = '';
  let copiedTo = 0;
  for (const span of new JsonScalarScanner(pointers).push(json)) {
    const link = rewriteSpan(plain, span, map);
    if (link === undefined) continue;
    rewritten += json.slice(copiedTo, span.start) + link;
    copiedTo = span.end;
  }
  return copiedTo === 0 ? undefined : Buffer.from(rewritten + json.slice(copiedTo), 'latin1');
}

/** The JSON string for a rewritten link, which has ASCII alone; `undefined` if it does not change. */
function rewriteSpan(bytes: Buffer, { start, end }: Span, map: LinkMap): string | undefined {
  const link = readJsonString(bytes.subarray(start, end));
  if (link === undefined) return undefined;
  const rewritten = rewriteLink(link, map);
  return rewritten === link ? undefined : JSON.stringify(rewritten);
}

/** The text of a JSON string; `undefined` if the bytes are not one. */
function readJsonString(bytes: Buffer): string | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    return typeof value === 'string' ? value : undefined;
  } catch {
    // Such a string is no link that a client could follow.
    return undefined;
  }
}
