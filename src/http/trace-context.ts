/** The ids of a span, in lower-case hexadecimal. */
export interface TraceIds {
  readonly traceId: string;
  readonly spanId: string;
}

/** Version 00, and later versions, which may add fields (W3C Trace Context §3.2). */
const TRACEPARENT =
  /^(?!ff)[\da-f]{2}-(?!0{32})([\da-f]{32})-(?!0{16})([\da-f]{16})-[\da-f]{2}(?:-|$)/;

/** The ids in a `traceparent` field; `undefined` if it is absent or malformed. */
export function readTraceparent(field: unknown): TraceIds | undefined {
  const [, traceId, spanId] = typeof field === 'string' ? (TRACEPARENT.exec(field) ?? []) : [];
  return traceId === undefined || spanId === undefined ? undefined : { traceId, spanId };
}
